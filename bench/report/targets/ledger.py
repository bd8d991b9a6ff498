"""The ledger: books that are whole after faults, and what accounting costs."""

from __future__ import annotations

from bench.report.target import Beside, Section, Target, Unit, at, at_least, below, exactly

_HTTP = "Over HTTP; scripted engines; clients, gateway and database writer in a process each; ledger on, off in turn."


def _books(name: str, says: str, key: str, main: bool) -> Target:
    return Target(
        name,
        says,
        "ledger_chaos",
        at(key),
        exactly(0),
        Unit.COUNT,
        beside=(
            Beside("answered to the end", at("answered"), Unit.COUNT),
            Beside("rows of these", at("rows"), Unit.COUNT),
            Beside("processes killed", at("kills"), Unit.COUNT),
        ),
        how="kill -9 of gateways, ledger, specialist and fallback under load, the database stopped and started.",
        main=main,
    )


def _added(name: str, says: str, percentile: str, most: float, main: bool) -> Target:
    return Target(
        name,
        says,
        "ledger_chaos",
        at("overhead", "added", "local", percentile),
        below(most),
        Unit.MS,
        beside=(
            Beside("replicated", at("overhead", "added", "replicated", percentile), Unit.MS),
            Beside("a query with no ledger", at("overhead", "whole", "off", percentile), Unit.MS),
        ),
        how=f"{_HTTP} Durability local.",
        main=main,
    )


def _rows(kind: str, title: str) -> Target:
    return Target(
        f"rows-{kind}",
        f"10 M rows tried on {title}",
        "ledger_scale",
        at(kind, "num_rows"),
        at_least(10_000_000),
        Unit.COUNT,
        beside=(
            Beside("loaded", at(kind, "rows_per_s"), Unit.RATE),
            Beside("a query, bytes", at(kind, "bytes_per_query"), Unit.COUNT),
            Beside("totals of all, warm", at(kind, "questions", "totals of all", "warm_ms"), Unit.MS),
            Beside("by hour, cold", at(kind, "questions", "all by hour", "cold_ms"), Unit.MS),
            Beside(
                "peer with no totals",
                at(kind, "questions", "peer: all by route and model, from the accounts", "cold_ms"),
                Unit.MS,
            ),
        ),
        main=True,
    )


LEDGER = Section(
    "Ledger",
    (
        _books("missing", "every answered query has a row after kill -9 under load", "missing", True),
        _books("duplicate", "and not two", "duplicate", True),
        _books("differing", "sums agree with the clients' own tally", "differing", False),
        _added("accounting-p50", "accounting under 1 ms a query at p50, at 500 queries/s", "p50", 1, True),
        _added("accounting-p99", "and under 5 ms at p99", "p99", 5, False),
        _rows("sqlite", "SQLite"),
        _rows("postgresql", "PostgreSQL"),
    ),
)
