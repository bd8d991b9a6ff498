"""Which budgets a query draws on: those of all queries, and those of its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from serve_app.config.budgets import BudgetsSettings, Limit, Window
from serve_app.core import NANO_USD

Scope = Literal["total", "key", "keyless"]
"""Whose queries a budget counts: all, those of one key, or those that come with no key."""


class Spender(Protocol):
    """What a budget has to know of an API key."""

    @property
    def key_id(self) -> str:
        """The name that the key is accounted under."""
        ...

    @property
    def limits(self) -> Sequence[Limit]:
        """Limits that the key was made with; none: those of every key."""
        ...


@dataclass(frozen=True, slots=True)
class Meter:
    """What is counted: the queries of `scope`, over windows of `per`."""

    scope: Scope
    key_id: str | None
    """Only of scope `key`."""
    per: Window

    @property
    def name(self) -> str:
        """Unique; in the database, in metrics and in messages.

        >>> Meter("total", None, "day").name, Meter("key", "team/a", "month").name
        ('total/day', 'key/team/a/month')
        """
        return "/".join(part for part in (self.scope, self.key_id, self.per) if part is not None)

    @classmethod
    def of_name(cls, name: str) -> Meter:
        """The meter that has this name.

        >>> Meter.of_name("key/team/a/month")
        Meter(scope='key', key_id='team/a', per='month')
        """
        rest, _, per = name.rpartition("/")
        scope, _, key_id = rest.partition("/")
        return cls(cast(Scope, scope), key_id or None, cast(Window, per))


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be used in each window of a meter."""

    meter: Meter
    nusd: int | None
    """Nano-dollars; None: money is not limited."""
    tokens: int | None
    """None: tokens are not limited."""

    @property
    def whose(self) -> str:
        """Its owner, for messages."""
        if self.meter.scope == "key":
            return f"of key {self.meter.key_id!r}"
        return "of all queries" if self.meter.scope == "total" else "of queries with no key"


def budgets_of(settings: BudgetsSettings, spender: Spender | None) -> tuple[Budget, ...]:
    """The budgets that a query of this key draws on; those of all queries come first.

    An entry in the settings under the key's name counts instead of the limits that the key was made with.
    """
    total = _budgets("total", None, settings.total)
    if spender is None:
        return total + _budgets("keyless", None, settings.each_key)
    own = settings.keys.get(spender.key_id)
    limits = own if own is not None else spender.limits or settings.each_key
    return total + _budgets("key", spender.key_id, limits)


def _budgets(scope: Scope, key_id: str | None, limits: Iterable[Limit]) -> tuple[Budget, ...]:
    """One budget for each kind of window; of several limits over the same one the smallest counts."""
    found: dict[Window, Budget] = {}
    for limit in limits:
        known = found.get(limit.per) or Budget(Meter(scope, key_id, limit.per), None, None)
        nusd = None if limit.usd is None else max(1, int(limit.usd * NANO_USD))
        found[limit.per] = Budget(known.meter, _smaller(known.nusd, nusd), _smaller(known.tokens, limit.tokens))
    return tuple(found.values())


def _smaller(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)
