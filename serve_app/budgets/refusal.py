"""What a client is told when a budget does not suffice."""

import math
from collections.abc import Sequence

from serve_app.budgets.amount import Amount
from serve_app.budgets.use import BudgetUse
from serve_app.core import BudgetExceeded


def out_of_budget(uses: Sequence[BudgetUse], need: Amount, now_s: float) -> BudgetExceeded:
    """The error for a query that these budgets, one or more, have no room for; it names the one renewed last.

    >>> from serve_app.budgets.budget import Budget, Meter
    >>> from serve_app.budgets.windows import Span
    >>> use = BudgetUse(Budget(Meter("key", "ada", "day"), 900, None), Span(0, 86_400), Amount(800))
    >>> str(out_of_budget([use], Amount(150), now_s=86_300.0))
    "The day budget of key 'ada' is used up; it is renewed at 1970-01-02 00:00 UTC."
    >>> out_of_budget([use], Amount(150), now_s=86_300.0).retry_after_s
    100
    >>> str(out_of_budget([use], Amount(1000), now_s=86_300.0))
    "The day budget of key 'ada' is smaller than what this query may cost; ask for fewer tokens."
    """
    last = max(uses, key=lambda use: use.span.end_s)
    whose = f"The {last.budget.meter.per} budget {last.budget.whose}"
    retry_after_s = max(1, math.ceil(last.span.end_s - now_s))
    if _never_fits(last, need):
        return BudgetExceeded(f"{whose} is smaller than what this query may cost; ask for fewer tokens.", retry_after_s)
    return BudgetExceeded(f"{whose} is used up; it is renewed at {last.renewed_at}.", retry_after_s)


def _never_fits(use: BudgetUse, need: Amount) -> bool:
    pairs = ((use.budget.nusd, need.nusd), (use.budget.tokens, need.tokens))
    return any(limit is not None and needed > limit for limit, needed in pairs)
