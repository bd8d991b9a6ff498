"""What a query may cost: set aside of its budgets before it is dispatched and escalated, settled when it has ended.

What is set aside is the worst that a call can cost by its longest answer; its prompt is estimated, since the gateway
has no tokenizer (`Query.estimated_tokens`), with the most that passages may add to it. Text that takes more tokens than
that may overrun a budget by the difference, once per query.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from serve_app.budgets import BudgetBook, Spender
from serve_app.config import NodeSettings, RoutesSettings, Settings
from serve_app.config.rag import RagSettings
from serve_app.core import Answer, Query
from serve_app.ledger import PriceBook

_AS_AUTO = ("auto", "rag")
"""Models behind which all of the graph stands."""


@dataclass(frozen=True, slots=True)
class _Calls:
    """Equal calls of one choice."""

    node: NodeSettings
    longest: int
    """Tokens of an answer where the client names no bound."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What prices a query just now. The first two change with `user_config`."""

    settings: Settings
    prices: PriceBook
    routes: RoutesSettings
    """With those that were set while the graph runs."""


class Purse:
    """The budgets as one query sees them. Implements `patterns.Guard`."""

    def __init__(self, book: BudgetBook, terms: Callable[[], Terms]) -> None:
        self._book, self._terms = book, terms
        self.longest_answers: Mapping[str, int] = {}
        """As in `EngineInfo`, of the small model's node. May be replaced at any time, as the engine tells."""

    async def reserve(self, query: Query, num_choices: int, spender: Spender | None) -> None:
        """Set aside the first call of every choice, or those of all members of an ensemble.

        Raises BudgetExceeded, and LedgerError where nobody knows.
        """
        if not self._book.applies_to(spender):  # nothing to reckon with: most graphs have no budgets
            return
        terms = self._terms()
        ways = [_sum(_worst(terms, query, call) for call in calls) for calls in self._ways(query, terms)]
        nusd, tokens = (max(amounts) * num_choices for amounts in zip(*ways, strict=True))
        await self._book.reserve(query.query_id, spender, nusd, tokens)

    async def may_escalate(self, query: Query) -> bool:
        """Set aside one call of the large model."""
        terms, node = self._terms(), self._terms().settings.fallback
        return await self._book.extend(query.query_id, *_worst(terms, query, _Calls(node, node.max_tokens)))

    def settle(self, account: Answer) -> None:
        """The query has ended; awaits nothing."""
        self._book.settle(account.query_id, account.cost_nusd, _tokens(account))

    def shadowed(self, account: Answer) -> None:
        """A shadow has ended; no client asked for it, so it counts in the budgets of all queries only."""
        self._book.charge(account.cost_nusd, _tokens(account))

    def give_back(self, query: Query) -> None:
        """The query was not begun after all."""
        self._book.settle(query.query_id, 0, 0)

    def warnings(self, spender: Spender | None) -> tuple[str, ...]:
        """A sentence for each budget that is nearly used up."""
        return self._book.warnings(spender)

    def _ways(self, query: Query, terms: Terms) -> list[list[_Calls]]:
        """What may be dispatched for one choice; which of several ways it goes, only its route will tell."""
        settings, members = terms.settings, self._members(terms)
        if query.model == "ensemble" and members:
            return [members]
        if _asks_large(query, settings):
            first = _Calls(settings.fallback, settings.fallback.max_tokens)
        else:
            first = _Calls(settings.specialists, self._longest(query.model, settings.specialists.max_tokens))
        by_ensemble = query.model in _AS_AUTO and settings.ensemble.routes
        return [[first], members] if by_ensemble else [[first]]

    def _members(self, terms: Terms) -> list[_Calls]:
        small, large, ensemble = terms.settings.specialists, terms.settings.fallback, terms.settings.ensemble
        if ensemble.strategy == "soft_routing":
            num_adapters = len({*terms.routes.adapters.values(), terms.routes.default})
            return [_Calls(small, self._longest("auto", small.max_tokens), ensemble.most_members(num_adapters))]
        if ensemble.in_lock_step:  # all write as many tokens as the first of them that is there
            longest = [self._longest(member.model, small.max_tokens) for member in ensemble.members]
            return [_Calls(small, max(longest), len(longest))] if longest else []
        return [
            _Calls(large, large.max_tokens, member.samples)
            if member.model == "large"
            else _Calls(small, self._longest(member.model, small.max_tokens), member.samples)
            for member in ensemble.members
        ]

    def _longest(self, model: str, of_node: int) -> int:
        """Most tokens of a small answer where the client names no bound; a router may choose any adapter."""
        if model in (*_AS_AUTO, "router"):
            return max(of_node, *self.longest_answers.values(), 0)
        return self.longest_answers.get(model, of_node)


def _tokens(account: Answer) -> int:
    return sum(attempt.usage.prompt_tokens + attempt.usage.completion_tokens for attempt in account.attempts)


def _asks_large(query: Query, settings: Settings) -> bool:
    """Whether the large model is the first to be asked; with a mirror it stands behind `auto` and `rag`."""
    cascade = settings.cascade
    mirrors = cascade.enabled and cascade.watch.mirror_share > 0
    return query.model == "large" or (query.model in _AS_AUTO and mirrors)


def _passage_tokens(query: Query, rag: RagSettings) -> int:
    """The most that passages may add to the prompt; under `auto` only the route will tell whether there are any."""
    return rag.passage_tokens if query.model == "rag" or (query.model == "auto" and rag.routes) else 0


def _sum(amounts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Nano-dollars and tokens of calls that are all made.

    >>> _sum([(10, 3), (5, 1)])
    (15, 4)
    """
    nusd, tokens = zip(*amounts, strict=True)
    return sum(nusd), sum(tokens)


def _worst(terms: Terms, query: Query, calls: _Calls) -> tuple[int, int]:
    """Nano-dollars and tokens."""
    node = calls.node
    num_prompt = min(query.estimated_tokens + _passage_tokens(query, terms.settings.rag), node.max_context_tokens)
    max_tokens = min(query.sampling.max_tokens or calls.longest, node.max_context_tokens)
    worst = terms.prices.reservation(node.model, num_prompt, max_tokens, query.tier)
    return worst.nusd * calls.count, worst.tokens * calls.count
