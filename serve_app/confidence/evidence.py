"""What a rule may look at when it judges a small answer."""

from dataclasses import dataclass

from serve_app.core import RouteScore, TokenStat


@dataclass(frozen=True, slots=True)
class Evidence:
    """A small answer, whole or so far, with what is known of its query. Holds no text of the query."""

    tokens: tuple[TokenStat, ...]
    """From the first on; all of them where `finished`."""
    finished: bool
    """The draft has ended; False: these are its first `len(tokens)`, and more may come."""
    route: RouteScore | None = None
    """None: no router saw the query."""
    prompt_tokens: int = 0
    """Length of the query with its template; 0 where it is not known."""
    sample_agreement: float | None = None
    """Share of further cheap samples that give the same answer, in [0, 1]; None: no samples were drawn."""
    passage_score: float | None = None
    """How well the best retrieved passage fits the query, in [0, 1]; None: nothing was retrieved."""
