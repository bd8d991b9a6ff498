"""How far a budget is used, as far as one gateway knows: for metrics, the dashboard, and warnings."""

from dataclasses import dataclass
from datetime import UTC, datetime

from serve_app.budgets.amount import Amount
from serve_app.budgets.budget import Budget
from serve_app.budgets.windows import Span


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """One budget in one window. Slices that other gateways keep ready count as used."""

    budget: Budget
    span: Span
    used: Amount
    """Settled and reserved here, and held elsewhere when this gateway last heard."""

    @property
    def share(self) -> float:
        """The larger share of its limits that is used; above 1 after an overrun.

        >>> from serve_app.budgets.budget import Meter
        >>> budget = Budget(Meter("total", None, "day"), nusd=200, tokens=1000)
        >>> BudgetUse(budget, Span(0, 86_400), Amount(nusd=100, tokens=900)).share
        0.9
        """
        pairs = ((self.used.nusd, self.budget.nusd), (self.used.tokens, self.budget.tokens))
        return max(used / limit for used, limit in pairs if limit is not None)

    @property
    def renewed_at(self) -> str:
        """The end of the window, as people write it.

        >>> from serve_app.budgets.budget import Meter
        >>> BudgetUse(Budget(Meter("total", None, "day"), 1, None), Span(0, 86_400), Amount()).renewed_at
        '1970-01-02 00:00 UTC'
        """
        return datetime.fromtimestamp(self.span.end_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

    @property
    def warning(self) -> str:
        """One sentence in ASCII, so that it may go into a header."""
        meter = self.budget.meter
        sentence = (
            f"The {meter.per} budget {self.budget.whose} is {self.share:.0%} used; it is renewed at {self.renewed_at}."
        )
        return sentence.encode("ascii", "backslashreplace").decode("ascii")
