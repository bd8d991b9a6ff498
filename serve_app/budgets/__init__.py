"""What may still be spent, in money and tokens, by all queries together and by each API key.

An authority beside the database grants each gateway a slice of a budget; the gateway's book reserves from it before a
query is dispatched and settles it afterwards, so that most queries ask nobody. Knows limits, windows, grants and
reservations; knows no HTTP, no Ray, and of an API key only its name and its limits.

1. A query's worst cost is reserved of all its budgets at once, in the windows in which it arrived.
2. Where a slice does not suffice, the book asks for more; what the authority has granted to all gateways is never more
   than the limit, so neither is the sum of all reservations.
3. The query's end settles its reservation: the true cost counts, the rest is free again.
4. A slice unused for a while goes back; that of a dead gateway becomes what its recorded queries cost.
"""

from serve_app.budgets.amount import Amount
from serve_app.budgets.authority import BudgetAuthority
from serve_app.budgets.book import BudgetBook
from serve_app.budgets.budget import Budget, Spender
from serve_app.budgets.protocol import Ask, Grant, LeaseSource
from serve_app.budgets.use import BudgetUse
from serve_app.budgets.windows import Span

__all__ = [
    "Amount",
    "Ask",
    "Budget",
    "BudgetAuthority",
    "BudgetBook",
    "BudgetUse",
    "Grant",
    "LeaseSource",
    "Span",
    "Spender",
]
