"""What one gateway holds of one budget in one window."""

from serve_app.budgets.amount import NOTHING, Amount
from serve_app.budgets.budget import Budget
from serve_app.budgets.protocol import Ask, Grant
from serve_app.budgets.use import BudgetUse
from serve_app.budgets.windows import Span


class Lease:
    """granted = settled + reserved + free; `free` is negative after an overrun. All amounts are of this window."""

    def __init__(self, budget: Budget, span: Span, slice_share: float) -> None:
        self.span = span
        self.limit_to(budget, slice_share)
        self.granted = NOTHING
        """Total that the authority gave, used up or not."""
        self.settled = NOTHING
        """True cost of the queries that ended."""
        self.reserved = NOTHING
        """Worst cost of those that run; disjoint from `settled`."""
        self.others = NOTHING
        """Held by other gateways when the authority last answered."""
        self.num_open = 0
        """Queries that run."""
        self.used_at_s = 0.0
        """When a query last reserved or settled."""
        self.told_at_s: float | None = None
        """When the authority last answered."""
        self.told_held: Amount | None = NOTHING
        """What it then wrote down as held; None: a message is under way, or its answer was lost."""
        self.warned = False
        """Whether the log has said that the budget is nearly used up."""

    def limit_to(self, budget: Budget, slice_share: float) -> None:
        """The limit changes; what is used stays."""
        self.budget = budget
        self.slice = Amount(_share(budget.nusd, slice_share), _share(budget.tokens, slice_share))
        """What is asked for at a time, where it is not more that is lacking."""
        self.refused_at_s: float | None = None
        """When the authority last gave less than was asked for."""

    @property
    def untold(self) -> bool:
        """Whether the authority has something else on its books than what is held."""
        return self.held != self.told_held

    @property
    def used(self) -> Amount:
        """Settled and reserved."""
        return self.settled + self.reserved

    @property
    def held(self) -> Amount:
        """What counts as this gateway's with the authority; nothing of what is not limited."""
        held = self.granted.at_least(self.used)
        return Amount(
            held.nusd if self.budget.nusd is not None else 0, held.tokens if self.budget.tokens is not None else 0
        )

    @property
    def use(self) -> BudgetUse:
        """How far the budget is used, as far as it is known here."""
        return BudgetUse(self.budget, self.span, self.used + self.others)

    @property
    def low(self) -> bool:
        """Whether less than half a slice is free."""
        free = self.granted - self.used
        return (self.budget.nusd is not None and 2 * free.nusd < self.slice.nusd) or (
            self.budget.tokens is not None and 2 * free.tokens < self.slice.tokens
        )

    def lacking(self, need: Amount) -> Amount:
        """How much of `need` is not free here; nothing where money or tokens are not limited."""
        short = self.used + need - self.granted
        return Amount(
            max(0, short.nusd) if self.budget.nusd is not None else 0,
            max(0, short.tokens) if self.budget.tokens is not None else 0,
        )

    def exceeds_alone(self, need: Amount) -> bool:
        """Whether this gateway alone would pass the limit with `need`, whatever others use."""
        total = self.used + need
        return (self.budget.nusd is not None and total.nusd > self.budget.nusd) or (
            self.budget.tokens is not None and total.tokens > self.budget.tokens
        )

    def surely_refused(self, need: Amount, now_s: float, retry_s: float) -> bool:
        """Whether the authority said less than `retry_s` ago that there is not so much left."""
        if self.refused_at_s is None or abs(now_s - self.refused_at_s) >= retry_s:
            return False
        lacking, taken = self.lacking(need), self.others + self.held
        return (self.budget.nusd is not None and lacking.nusd > self.budget.nusd - taken.nusd) or (
            self.budget.tokens is not None and lacking.tokens > self.budget.tokens - taken.tokens
        )

    def take(self, need: Amount, now_s: float) -> None:
        """Reserve. The caller has seen that nothing is lacking, or accepts an overrun."""
        self.reserved += need
        self.used_at_s = now_s

    def settle(self, reserved: Amount, cost: Amount, now_s: float) -> None:
        """A query has ended: its reservation is free, its cost is not."""
        self.reserved -= reserved
        self.settled += cost
        self.used_at_s = now_s
        self.num_open -= 1

    def charge(self, cost: Amount, now_s: float) -> None:
        """Something was spent that nothing was reserved for."""
        self.settled += cost
        self.used_at_s = now_s

    def give_back(self) -> None:
        """Keep nothing free. The authority learns it by the next ask; until then the rest is nobody's."""
        self.granted = self.used

    def ask(self, need: Amount, slice_: Amount) -> Ask:
        """What to tell the authority: what is held, what `need` lacks, and how much to keep ready."""
        return Ask(self.budget, self.span, self.held, self.lacking(need), slice_)

    def answered(self, ask: Ask, grant: Grant, now_s: float) -> None:
        """The authority's answer to `ask`."""
        self.granted = self.told_held = grant.held
        self.others, self.told_at_s = grant.others, now_s
        got, wanted = grant.held - ask.held, ask.lacking.at_least(ask.slice)
        short = (self.budget.nusd is not None and got.nusd < wanted.nusd) or (
            self.budget.tokens is not None and got.tokens < wanted.tokens
        )
        self.refused_at_s = now_s if short else None


def _share(limit: int | None, share: float) -> int:
    return 0 if limit is None else max(1, int(limit * share))
