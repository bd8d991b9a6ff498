"""Rows of trials and their evidence, read and written inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, insert, select, update

from serve_app.adapters.registry.tables import adapter_versions
from serve_app.canary.evidence import EvidenceRecord, TrialEvidence
from serve_app.canary.tables import canary_evidence, canary_trials
from serve_app.store import insert_into


@dataclass(frozen=True, slots=True)
class Versions:
    """What is compared."""

    name: str
    canary: str
    live: str


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial as it is stored."""

    versions: Versions
    began_revision: int
    began_at_s: float
    ended_at_s: float | None
    ended_by: str | None
    verdict: dict[str, Any]


def tried_now(connection: Connection) -> frozenset[Versions]:
    """Every canary of the registry beside the live version of its name."""
    canary, live = adapter_versions.alias(), adapter_versions.alias()
    both = select(canary.c.name, canary.c.version, live.c.version).join(
        live, and_(live.c.name == canary.c.name, live.c.state == "live")
    )
    return frozenset(Versions(*row) for row in connection.execute(both.where(canary.c.state == "canary")))


def running(connection: Connection) -> tuple[StoredTrial, ...]:
    """Trials that nothing has ended yet."""
    trials = canary_trials
    return _trials(connection, select(trials).where(trials.c.ended_at_s.is_(None)).order_by(trials.c.name))


def trials_of(connection: Connection, name: str, limit: int) -> tuple[StoredTrial, ...]:
    """An adapter's latest trials, newest first."""
    newest = select(canary_trials).where(canary_trials.c.name == name).order_by(canary_trials.c.began_at_s.desc())
    return _trials(connection, newest.limit(limit))


def begin(connection: Connection, versions: Versions, at_s: float) -> None:
    """Open a trial; what was seen in an earlier one of the same two versions does not count."""
    ended = select(func.max(canary_trials.c.ended_revision)).where(_is_of(canary_trials, versions))
    last = connection.execute(ended).scalar()
    began_revision = 0 if last is None else last + 1
    row = _key(versions) | {"began_revision": began_revision, "began_at_s": at_s, "verdict": {}}
    connection.execute(insert(canary_trials).values(row))


def end(
    connection: Connection, trial: StoredTrial, by: str, at_s: float, revision: int, verdict: dict[str, Any]
) -> None:
    """Close a trial with the last that the rule said, and forget its evidence."""
    which = and_(_is_of(canary_trials, trial.versions), canary_trials.c.began_revision == trial.began_revision)
    ended = {"ended_at_s": at_s, "ended_by": by, "ended_revision": revision, "verdict": verdict}
    connection.execute(update(canary_trials).where(which).values(ended))
    old = and_(_is_of(canary_evidence, trial.versions), canary_evidence.c.since_revision <= revision)
    connection.execute(delete(canary_evidence).where(old))


def put_evidence(connection: Connection, records: Iterable[EvidenceRecord]) -> None:
    """Keep what is newer than what the same gateway sent before, of trials that run."""
    now = tried_now(connection)
    for record in records:
        versions = Versions(record.name, record.canary, record.live)
        if versions not in now:
            continue
        TrialEvidence.model_validate(record.totals)
        row = _key(versions) | {
            "gateway": record.gateway,
            "since_revision": record.since_revision,
            "sequence": record.sequence,
            "totals": dict(record.totals),
        }
        statement = insert_into(connection, canary_evidence).values(row)
        newer = statement.excluded.sequence > canary_evidence.c.sequence
        keys = [column.name for column in canary_evidence.primary_key]
        rest = {name: statement.excluded[name] for name in ("sequence", "totals")}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest, where=newer))


def evidence_of(connection: Connection, trial: StoredTrial) -> TrialEvidence:
    """All that gateways have sent of a trial, added up."""
    table, merged = canary_evidence, TrialEvidence()
    which = and_(_is_of(table, trial.versions), table.c.since_revision >= trial.began_revision)
    for totals in connection.execute(select(table.c.totals).where(which)).scalars():
        merged.merge(TrialEvidence.model_validate(totals))
    return merged


def _trials(connection: Connection, query: Any) -> tuple[StoredTrial, ...]:
    return tuple(_trial(row) for row in connection.execute(query))


def _trial(row: Row[Any]) -> StoredTrial:
    versions = Versions(row.name, row.canary, row.live)
    return StoredTrial(versions, row.began_revision, row.began_at_s, row.ended_at_s, row.ended_by, row.verdict)


def _key(versions: Versions) -> dict[str, Any]:
    return {"name": versions.name, "canary": versions.canary, "live": versions.live}


def _is_of(table: Table, versions: Versions) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in _key(versions).items()))
