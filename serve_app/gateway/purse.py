"""What a query may cost: set aside of its budgets before it is dispatched and escalated, settled when it has ended.

What is set aside is the worst that a call can cost by its longest answer; its prompt is counted in bytes, since the
gateway has no tokenizer: a third of them, and some for the template. Text that takes more tokens than that may overrun
a budget by the difference, once per query.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serve_app.budgets import BudgetBook, Spender
from serve_app.config import NodeSettings, Settings
from serve_app.core import Answer, Query
from serve_app.ledger import PriceBook

_BYTES_PER_TOKEN = 3
_TEMPLATE_TOKENS = 32
"""Of a prompt as a whole."""
_TURN_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """What prices a query just now. Both change with `user_config`."""

    settings: Settings
    prices: PriceBook


class Purse:
    """The budgets as one query sees them. Implements `patterns.Guard`."""

    def __init__(self, book: BudgetBook, terms: Callable[[], Terms]) -> None:
        self._book, self._terms = book, terms
        self.longest_answers: Mapping[str, int] = {}
        """As in `EngineInfo`, of the small model's node. May be replaced at any time, as the engine tells."""

    async def reserve(self, query: Query, num_choices: int, spender: Spender | None) -> None:
        """Set aside the first call of every choice. Raises BudgetExceeded, and LedgerError where nobody knows."""
        terms = self._terms()
        settings = terms.settings
        if _asks_large(query, settings):
            node, longest = settings.fallback, settings.fallback.max_tokens
        else:
            node, longest = settings.specialists, self._longest(query.model, settings.specialists.max_tokens)
        await self._book.reserve(query.query_id, spender, *_worst(terms.prices, node, query, longest, num_choices))

    async def may_escalate(self, query: Query) -> bool:
        """Set aside one call of the large model."""
        terms, node = self._terms(), self._terms().settings.fallback
        return await self._book.extend(query.query_id, *_worst(terms.prices, node, query, node.max_tokens, 1))

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

    def _longest(self, model: str, of_node: int) -> int:
        """Most tokens of a small answer where the client names no bound; a router may choose any adapter."""
        if model in ("auto", "router"):
            return max(of_node, *self.longest_answers.values(), 0)
        return self.longest_answers.get(model, of_node)


def prompt_tokens(query: Query) -> int:
    """A prompt's tokens, rather too many than too few."""
    if query.prompt is not None:
        return len(query.prompt.encode()) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS
    num_bytes = sum(len(message.content.encode()) for message in query.messages)
    return num_bytes // _BYTES_PER_TOKEN + _TURN_TOKENS * len(query.messages) + _TEMPLATE_TOKENS


def _tokens(account: Answer) -> int:
    return sum(attempt.usage.prompt_tokens + attempt.usage.completion_tokens for attempt in account.attempts)


def _asks_large(query: Query, settings: Settings) -> bool:
    """Whether the large model is the first to be asked; with a mirror it stands behind `auto`."""
    cascade = settings.cascade
    return query.model == "large" or (query.model == "auto" and cascade.enabled and cascade.watch.mirror_share > 0)


def _worst(prices: PriceBook, node: NodeSettings, query: Query, longest: int, num_choices: int) -> tuple[int, int]:
    """Nano-dollars and tokens of so many calls. `longest`: tokens of an answer where the client names no bound."""
    num_prompt = min(prompt_tokens(query), node.max_context_tokens)
    max_tokens = min(query.sampling.max_tokens or longest, node.max_context_tokens)
    worst = prices.reservation(node.model, num_prompt, max_tokens, query.tier)
    return worst.nusd * num_choices, worst.tokens * num_choices
