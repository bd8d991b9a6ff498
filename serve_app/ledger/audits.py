"""How good the estimates of always-large are: audited queries have the large model's true cost beside them."""

from typing import Any

from sqlalchemy import Connection, case, func, select

from serve_app.ledger.public import usd
from serve_app.ledger.tables import attempts, queries


def always_large_check(connection: Connection, since_s: float | None, until_s: float | None) -> dict[str, Any]:
    """Sums over the audited queries of a range whose always-large cost is an estimate.

    An audit asks the large model what the small one has answered; what that cost is set against the estimate on the
    account of the query. Queries with several choices are left out, for one only is audited.
    {"audited": count, "estimated_usd", "measured_usd", "measured_over_estimated": share or None, "dearer": count of
    queries for which the large model cost more than estimated}
    """
    audit, query = queries.alias("audit"), queries.alias("query")
    measured = (
        select(func.sum(attempts.c.cost_nusd))
        .where(
            attempts.c.day == audit.c.day,
            attempts.c.query_id == audit.c.query_id,
            attempts.c.role == "shadow",
            attempts.c.outcome == "shadow",
        )
        .scalar_subquery()
    )
    several = (
        select(attempts.c.query_id)
        .where(attempts.c.day == query.c.day, attempts.c.query_id == query.c.query_id, attempts.c.choice_index > 0)
        .exists()
    )
    pairs = (
        select(query.c.always_large_nusd.label("estimated_nusd"), measured.label("measured_nusd"))
        .join_from(audit, query, (query.c.day == audit.c.day) & (query.c.query_id == audit.c.shadow_of))
        .where(audit.c.shadow_of.is_not(None), audit.c.requested_model == "audit")
        .where(query.c.always_large_basis == "estimated", ~several)
    )
    if since_s is not None:
        pairs = pairs.where(audit.c.created_at_s >= since_s)
    if until_s is not None:
        pairs = pairs.where(audit.c.created_at_s < until_s)
    pair = pairs.subquery()
    row = connection.execute(
        select(
            func.count().label("audited"),
            func.coalesce(func.sum(pair.c.estimated_nusd), 0).label("estimated_nusd"),
            func.coalesce(func.sum(pair.c.measured_nusd), 0).label("measured_nusd"),
            func.coalesce(func.sum(case((pair.c.measured_nusd > pair.c.estimated_nusd, 1), else_=0)), 0).label(
                "dearer"
            ),
        ).where(pair.c.measured_nusd.is_not(None))
    ).one()
    estimated_nusd, measured_nusd = int(row.estimated_nusd), int(row.measured_nusd)
    return {
        "audited": row.audited,
        "estimated_usd": usd(estimated_nusd),
        "measured_usd": usd(measured_nusd),
        "measured_over_estimated": measured_nusd / estimated_nusd if estimated_nusd else None,
        "dearer": int(row.dearer),
    }
