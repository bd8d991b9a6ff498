"""What is left when something is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding
from serve_app.checklist.records import Record, RecordKind

_FAULTS = ("missing", "duplicate", "differing", "begun_missing")
"""Of a chaos run's accounts; the first two have to be told."""
_RULE = "canary"
"""The actor of what the registry's rule did by itself."""


@CHECKS.add("reliability.backup", "The ledger is backed up", in_demo="warn")
async def backup(facts: Facts) -> Finding:
    """A record of kind `backup`, against `checklist.max_backup_days`."""
    most = facts.settings.checklist.max_backup_days
    fix = "Back the database up (docs/operate.md), then `headrace record backup --note …` in the same job."
    return _recorded(facts, "backup", most, "a backup of the ledger", fix)


@CHECKS.add("reliability.restore", "A backup was restored once", in_demo="skip")
async def restore(facts: Facts) -> Finding:
    """A record of kind `restore`."""
    most = facts.settings.checklist.max_record_days
    fix = (
        "Restore the latest backup beside the server, compare `headrace ledger report`, then "
        "`headrace record restore --note …`."
    )
    return _recorded(facts, "restore", most, "a restored backup", fix)


@CHECKS.add("reliability.chaos", "A chaos run without a lost account is on record", in_demo="warn")
async def chaos(facts: Facts) -> Finding:
    """A record of kind `chaos` with `missing` and `duplicate`, as `bench.ledger_chaos` writes them.

    Where it also tells of accounts that differ from what clients were told, or of queries that were begun and have
    none, they count as well.
    """

    def look(figures: Any) -> str | None:
        untold = [name for name in _FAULTS[:2] if not isinstance(figures.get(name), int)]
        if untold:
            return f"it does not tell {' and '.join(untold)}"
        lost = [f"{name} is {figures[name]}" for name in _FAULTS if figures.get(name, 0) != 0]
        return ", ".join(lost) or None

    most = facts.settings.checklist.max_record_days
    fix = "Run `python -m bench.ledger_chaos --json FILE`, then `headrace record chaos --figures FILE`."
    return _recorded(facts, "chaos", most, "a chaos run", fix, look)


@CHECKS.add("reliability.rollback", "Going back to an older adapter was rehearsed", in_demo="skip")
async def rollback(facts: Facts) -> Finding:
    """A record of kind `rollback`, or somebody's rollback in the registry's audit log of a running server.

    Either against `checklist.max_record_days`. A canary that was withdrawn by rule is no rehearsal.
    """
    most = facts.settings.checklist.max_record_days
    if facts.server is not None and (await facts.server.get("/v1/status"))["registry"] is not None:
        page = await facts.server.get("/v1/adapters/audit?limit=1000")
        oldest_s = time.time() - most * 86_400
        back = [
            entry["name"]
            for entry in page["data"]
            if entry["action"] == "rollback" and entry["at"] >= oldest_s and entry["actor"] != _RULE
        ]
        if back:
            return Finding.good(f"The audit log has a rollback of {back[0]} within {most:g} days.")
    fix = "Do it once under load: `headrace adapters rollback NAME`, then `headrace record rollback --note …`."
    return _recorded(facts, "rollback", most, "a rehearsed rollback", fix)


@CHECKS.add("reliability.database", "The ledger's database outlives a machine", in_demo="skip")
async def database(facts: Facts) -> Finding:
    """Its kind, and what the last chunk of an answer waits for."""
    ledger = facts.settings.ledger
    if not ledger.url.startswith("postgres"):
        return Finding.warn(
            "Accounts are in a SQLite file on one machine: the ledger cannot move to another.",
            "Use PostgreSQL: ledger.url: postgresql://USER@HOST/DATABASE.",
        )
    if ledger.durability == "local":
        return Finding.good("PostgreSQL. With durability `local` the accounts of a machine's last moments go with it.")
    return Finding.good("PostgreSQL, and each account is there before the last chunk is sent.")


@CHECKS.add("reliability.spread", "One machine less does not stop it", in_demo="skip")
async def spread(facts: Facts) -> Finding:
    """Gateways on nodes of their own."""
    gateway = facts.settings.deployments.gateway
    if gateway.min_replicas < 2:
        return Finding.fail("There is one gateway.", "Set deployments.gateway.min_replicas to 2, max_per_node to 1.")
    if gateway.max_per_node is None or gateway.max_per_node >= gateway.min_replicas:
        return Finding.warn("All gateways may lie on one machine.", "Set deployments.gateway.max_per_node to 1.")
    return Finding.good(f"{gateway.min_replicas} gateways, at most {gateway.max_per_node} on a machine.")


def _recorded(
    facts: Facts,
    kind: RecordKind,
    max_days: float,
    what: str,
    fix: str,
    wrong: Callable[[Any], str | None] = lambda figures: None,
) -> Finding:
    record: Record | None = facts.records.latest(kind)
    if record is None:
        return Finding.fail(f"There is no record of {what}.", fix)
    days = record.age_days()
    said = f"The latest record of {what} is {days:.1f} days old; at most {max_days:g} are asked."
    problem = wrong(record.figures)
    if problem is not None:
        return Finding.fail(f"{said} And {problem}.", fix)
    return Finding.good(said) if days <= max_days else Finding.fail(said, fix)
