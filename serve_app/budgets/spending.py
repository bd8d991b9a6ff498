"""What the ledger has on record of a window: for budgets that begin in its middle, and for gateways that died."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from serve_app.budgets.amount import Amount
from serve_app.budgets.budget import Meter
from serve_app.budgets.windows import Span
from serve_app.ledger.tables import queries, rollup_groups, rollups
from serve_app.ledger.times import DAY_S


def recorded(connection: Connection, meter: Meter, span: Span) -> Amount:
    """All that the queries of a meter cost in a window; days and months come from daily roll-ups.

    Shadows are included where the meter is of all queries: they are charged to nobody.
    """
    if meter.per == "minute":
        return _sum_of_queries(connection, meter, span)
    statement = (
        select(func.sum(rollups.c.cost_nusd), func.sum(rollups.c.prompt_tokens + rollups.c.completion_tokens))
        .select_from(rollups.join(rollup_groups, rollup_groups.c.group_id == rollups.c.group_id))
        .where(rollups.c.span_s == DAY_S, rollups.c.start_s >= span.start_s, rollups.c.start_s < span.end_s)
        .where(*_of_meter(meter, rollup_groups.c.key_id, rollup_groups.c.outcome))
    )
    return _amount(connection.execute(statement).one())


def recorded_by(connection: Connection, meter: Meter, span: Span, gateway: str) -> Amount:
    """The same for the queries of one gateway; reads every account of the window."""
    return _sum_of_queries(connection, meter, span, queries.c.gateway == gateway)


def _sum_of_queries(connection: Connection, meter: Meter, span: Span, *more: ColumnElement[bool]) -> Amount:
    statement = select(
        func.sum(queries.c.cost_nusd), func.sum(queries.c.prompt_tokens + queries.c.completion_tokens)
    ).where(
        queries.c.day >= span.start_s // DAY_S,  # partitions are pruned by the day
        queries.c.day <= (span.end_s - 1) // DAY_S,
        queries.c.created_at_s >= span.start_s,
        queries.c.created_at_s < span.end_s,
        *_of_meter(meter, queries.c.key_id, queries.c.outcome),
        *more,
    )
    return _amount(connection.execute(statement).one())


def _of_meter(meter: Meter, key_id: ColumnElement[Any], outcome: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    if meter.scope == "total":
        return ()
    return (key_id == meter.key_id,) if meter.scope == "key" else (key_id.is_(None), outcome != "shadow")


def _amount(row: Any) -> Amount:
    return Amount(int(row[0] or 0), int(row[1] or 0))
