"""Two answers to one question, compared by a scorer of the labelling package."""

from serve_app.labelling.scorers import Item, scorer
from serve_app.patterns.shadow import Scorer


def comparison(name: str) -> Scorer:
    """What an audit asks. The large answer stands in for the reference, too. Raises ConfigError for an unknown name."""
    found = scorer(name)

    async def compare(question: str, small_answer: str, large_answer: str) -> float | None:
        return await found.score(Item(question, small_answer, large_answer, large_answer=large_answer))

    return compare
