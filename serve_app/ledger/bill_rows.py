"""What the accounts say of the use of each deployment, read for the bill: by hour, and by groups of queries."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, and_, case, cast, func, or_, select

from serve_app.core import RequestError
from serve_app.ledger.partitions import created_between, day_of
from serve_app.ledger.tables import attempts, ledger_days, queries
from serve_app.ledger.times import HOUR_S

_GIVEN = and_(
    or_(
        and_(attempts.c.outcome == "accepted", attempts.c.role.in_(("answer", "member"))),
        and_(attempts.c.outcome == "cancelled", attempts.c.role == "answer"),
    ),
    queries.c.outcome != "shadow",
)
"""Attempts whose tokens the large model alone would have had to make: of an ensemble one, and where its client left
none, for nobody can say which."""
_GROUPS: dict[str, ColumnElement[Any]] = {
    "route": queries.c.route,
    "adapter": queries.c.adapter,
    "model": queries.c.model,
    "key": queries.c.key_id,
    "tier": queries.c.tier,
}
BILL_GROUPS = tuple(_GROUPS)
"""What a bill can be shared over."""


@dataclass(frozen=True, slots=True)
class HourUse:
    """What the queries that arrived in one hour used of one node."""

    hour_s: int
    """Start of the hour, seconds since the epoch."""
    node: str
    busy_ns: int
    cost_nusd: int
    """What the accounts charged for it."""
    given_prompt_tokens: int = 0
    """Of answers given, like the next."""
    given_completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class GroupUse:
    """What one group of queries used of one node, over the whole time."""

    group: str | None
    node: str
    busy_ns: int
    cost_nusd: int
    tokens: int
    """Processed by the node: of prompts and of answers, whatever became of them."""
    given_tokens: int
    """Included in `tokens`: of answers given."""


def read_hours(connection: Connection, since_s: int, until_s: int) -> list[HourUse]:
    """By hour and node."""
    hour = _hour(connection, queries.c.created_at_s)
    statement = select(
        hour,
        attempts.c.node,
        func.sum(attempts.c.busy_ns),
        func.sum(attempts.c.cost_nusd),
        _given(attempts.c.prompt_tokens),
        _given(attempts.c.completion_tokens),
    )
    rows = connection.execute(_within(statement, since_s, until_s).group_by(hour, attempts.c.node))
    return [HourUse(int(row[0]) * HOUR_S, row[1], *(int(value) for value in row[2:])) for row in rows]


def read_always_large(connection: Connection, since_s: int, until_s: int) -> dict[int, int]:
    """Start of the hour -> nano-dollars that the accounts say the large model alone would have cost."""
    hour = _hour(connection, queries.c.created_at_s)
    statement = (
        select(hour, func.sum(queries.c.always_large_nusd)).where(*created_between(since_s, until_s)).group_by(hour)
    )
    return {int(row[0]) * HOUR_S: int(row[1]) for row in connection.execute(statement)}


def read_groups(connection: Connection, since_s: int, until_s: int, group_by: str) -> list[GroupUse]:
    """By group and node. Raises RequestError on a group that is none of BILL_GROUPS."""
    if group_by not in _GROUPS:
        raise RequestError(f"A bill cannot be shared by {group_by!r}; use one of {', '.join(BILL_GROUPS)}.", "group_by")
    group = _GROUPS[group_by]
    tokens = attempts.c.prompt_tokens + attempts.c.completion_tokens
    statement = select(
        group,
        attempts.c.node,
        func.sum(attempts.c.busy_ns),
        func.sum(attempts.c.cost_nusd),
        func.sum(tokens),
        _given(tokens),
    )
    rows = connection.execute(_within(statement, since_s, until_s).group_by(group, attempts.c.node))
    return [GroupUse(row[0], row[1], *(int(value) for value in row[2:])) for row in rows]


def read_pruned_days(connection: Connection, since_s: int, until_s: int) -> int:
    """How many days of that time have lost their accounts to retention."""
    days = ledger_days.c.day.between(day_of(since_s), day_of(until_s - 1))
    statement = select(func.count()).select_from(ledger_days).where(days, ledger_days.c.pruned_at_s.is_not(None))
    return connection.execute(statement).scalar_one()


def _given(tokens: ColumnElement[int]) -> ColumnElement[int]:
    return func.sum(case((_GIVEN, tokens), else_=0))


def _within(statement: Select[Any], since_s: int, until_s: int) -> Select[Any]:
    of_query = and_(attempts.c.day == queries.c.day, attempts.c.query_id == queries.c.query_id)
    return statement.select_from(queries).join(attempts, of_query).where(*created_between(since_s, until_s))


def _hour(connection: Connection, seconds: ColumnElement[float]) -> ColumnElement[Any]:
    """Hours since the epoch, rounded down: a cast does so in SQLite and rounds to the nearest in PostgreSQL."""
    hours = seconds / HOUR_S
    return func.floor(hours) if connection.dialect.name == "postgresql" else cast(hours, Integer)
