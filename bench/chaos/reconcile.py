"""Holds the ledger's rows against the clients' own books."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from bench.chaos.tally import Seen, Told, begun
from serve_app.ledger import SqlLedger
from serve_app.ledger.tables import attempts, queries

_NUM_SHOWN = 5
_LAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """One account, as it lies in the database."""

    query_id: str
    outcome: str
    shadow_of: str | None
    accepted_tokens: int
    """Completion tokens of the attempts whose answer was used."""
    told: Told
    """What a client should have been told."""
    gateway: str | None = None
    created_at_s: float = 0.0
    """Seconds since the epoch."""


async def read_rows(url: str) -> list[Row]:
    """All accounts, by columns, past the ledger's own code. Raises LedgerError."""
    ledger = SqlLedger(url, read_only=True)
    await ledger.open()
    try:
        return await ledger.store.read(_rows)
    finally:
        await ledger.close()


async def read_totals(url: str) -> dict[str, Any]:
    """What the ledger reports of itself, from its hourly totals. Raises LedgerError."""
    ledger = SqlLedger(url, read_only=True)
    await ledger.open()
    try:
        totals: dict[str, Any] = (await ledger.stats(None, None, ()))["totals"]
        return totals
    finally:
        await ledger.close()


def reconcile(seen: Sequence[Seen], rows: Sequence[Row]) -> dict[str, Any]:
    """Counts for people; `is_exact` says whether they are as they should be.

    `missing` and `duplicate` are of finished queries. `begun_missing`: queries without an account of which the client
    got some words. `differing`: finished queries whose account is not what the client counted or was told. `strangers`:
    accounts that no client knows; those are of clients that were cut off before they got the id. `retried`: accounts
    of a gateway that died before the client had heard of it; the proxy asked another, which has an account of its own.
    They are lost, or whole where it died between its journal's disk and its answer.
    """
    by_id: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_id[row.query_id].append(row)
    finished = {one.query_id: one for one in seen if one.end == "finished" and one.query_id is not None}
    found = [(one, by_id[query_id][0]) for query_id, one in finished.items() if query_id in by_id]
    differing = [one.query_id for one, row in found if differs(one, row)]
    known = {one.query_id for one in seen}
    unknown = [row for row in rows if row.query_id not in known and row.shadow_of is None]
    died = _died(rows)
    retried = [row for row in unknown if row.outcome == "lost" or row.gateway in died]
    return {
        "requests": len(seen),
        "ends": dict(Counter(one.end for one in seen)),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "answered": len(finished),
        "rows": sum(len(by_id[query_id]) for query_id in finished if query_id in by_id),
        "missing": len(finished) - len(found),
        "duplicate": sum(len(of_one) - 1 for of_one in by_id.values()),
        "differing": len(differing),
        "differing_ids": differing[:_NUM_SHOWN],
        "begun_missing": len(begun(seen) - set(by_id)),
        "strangers": len(unknown) - len(retried),
        "retried": len(retried),
        "without_id": sum(one.query_id is None for one in seen),
        "clients": _sums([one.told for one in finished.values() if one.told is not None]),
        "ledger": _sums([row.told for _, row in found]),
    }


def is_exact(report: dict[str, Any]) -> bool:
    """Every query accounted for, once, and at what its client was told."""
    faults = ("missing", "duplicate", "differing", "begun_missing")
    return (
        not any(report[name] for name in faults)
        and report["clients"] == report["ledger"]
        and report["strangers"] <= report["without_id"]
    )


def differs(one: Seen, row: Row) -> bool:
    """Whether a finished query's account is another than its client's."""
    return row.outcome != "accepted" or row.told != one.told or row.accepted_tokens != one.num_words


def _died(rows: Sequence[Row]) -> set[str]:
    """Gateways that have no account of the last seconds of the run, though there was load on all that lived."""
    end_s = max((row.created_at_s for row in rows), default=0.0)
    alive = {row.gateway for row in rows if row.created_at_s > end_s - _LAST_S}
    return {row.gateway for row in rows if row.gateway is not None} - alive


def _sums(told: Sequence[Told]) -> dict[str, int]:
    names = Told.__slots__
    totals = [sum(column) for column in zip(*map(astuple, told), strict=True)] or [0] * len(names)
    return dict(zip(names, totals, strict=True))


def _rows(connection: Connection) -> list[Row]:
    used = attempts.c.completion_tokens
    by_id = select(
        attempts.c.query_id,
        attempts.c.day,
        func.sum(attempts.c.prompt_tokens),
        func.sum(used),
        func.count(),
        func.sum(case((attempts.c.outcome == "accepted", used), else_=0)),
    ).group_by(attempts.c.query_id, attempts.c.day)
    sums = {(query_id, day): tuple(map(int, rest)) for query_id, day, *rest in connection.execute(by_id)}
    money = (queries.c.cost_nusd, queries.c.always_large_nusd)
    columns = (queries.c.outcome, queries.c.shadow_of, queries.c.gateway, queries.c.created_at_s, *money)
    rows = []
    for query_id, day, outcome, shadow_of, gateway, created_at_s, cost, large in connection.execute(
        select(queries.c.query_id, queries.c.day, *columns)
    ):
        num_prompt, num_completion, num_attempts, num_accepted = sums.get((query_id, day), (0, 0, 0, 0))
        told = Told(cost, large, num_prompt, num_completion, num_attempts)
        rows.append(Row(query_id, outcome, shadow_of, num_accepted, told, gateway, created_at_s))
    return rows
