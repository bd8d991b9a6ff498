"""What a query may cost: set aside of its budgets before it is dispatched and escalated, settled when it has ended.

What is set aside is the worst that a call can cost by its longest answer; its prompt is counted in bytes, since the
gateway has no tokenizer: a third of them, and some for the template. Text that takes more tokens than that may overrun
a budget by the difference, once per query.
"""

from collections.abc import Callable
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

    async def reserve(self, query: Query, num_choices: int, spender: Spender | None) -> None:
        """Set aside the first call of every choice. Raises BudgetExceeded, and LedgerError where nobody knows."""
        terms = self._terms()
        node = terms.settings.fallback if _asks_large(query, terms.settings) else terms.settings.specialists
        await self._book.reserve(query.query_id, spender, *_worst(terms.prices, node, query, num_choices))

    async def may_escalate(self, query: Query) -> bool:
        """Set aside one call of the large model."""
        terms = self._terms()
        return await self._book.extend(query.query_id, *_worst(terms.prices, terms.settings.fallback, query, 1))

    def settle(self, account: Answer) -> None:
        """The query has ended; awaits nothing."""
        tokens = sum(attempt.usage.prompt_tokens + attempt.usage.completion_tokens for attempt in account.attempts)
        self._book.settle(account.query_id, account.cost_nusd, tokens)

    def give_back(self, query: Query) -> None:
        """The query was not begun after all."""
        self._book.settle(query.query_id, 0, 0)

    def warnings(self, spender: Spender | None) -> tuple[str, ...]:
        """A sentence for each budget that is nearly used up."""
        return self._book.warnings(spender)


def prompt_tokens(query: Query) -> int:
    """A prompt's tokens, rather too many than too few."""
    if query.prompt is not None:
        return len(query.prompt.encode()) // _BYTES_PER_TOKEN + _TEMPLATE_TOKENS
    num_bytes = sum(len(message.content.encode()) for message in query.messages)
    return num_bytes // _BYTES_PER_TOKEN + _TURN_TOKENS * len(query.messages) + _TEMPLATE_TOKENS


def _asks_large(query: Query, settings: Settings) -> bool:
    """Whether the large model is the first to be asked; with a mirror it stands behind `auto`."""
    cascade = settings.cascade
    return query.model == "large" or (query.model == "auto" and cascade.enabled and cascade.watch.mirror_share > 0)


def _worst(prices: PriceBook, node: NodeSettings, query: Query, num_choices: int) -> tuple[int, int]:
    """Nano-dollars and tokens of so many calls."""
    num_prompt = min(prompt_tokens(query), node.max_context_tokens)
    max_tokens = min(query.sampling.max_tokens or node.max_tokens, node.max_context_tokens)
    worst = prices.reservation(node.model, num_prompt, max_tokens, query.tier)
    return worst.nusd * num_choices, worst.tokens * num_choices
