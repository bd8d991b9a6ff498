"""Whether the router sends queries where they belong."""

from __future__ import annotations

from statistics import median
from typing import Any

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding

_TRAIN = "Add examples of what it takes for something else, and train it again: `headrace router train`."
_MOST_MS = 25.0


@CHECKS.add("routing.accuracy", "The router is right on queries like those it was trained on")
async def accuracy(facts: Facts) -> Finding:
    """Cross-validated accuracy of its card, against `checklist.min_router_accuracy`."""
    return _accuracy(facts, "random_folds", facts.settings.checklist.min_router_accuracy, "held-out rows")


@CHECKS.add("routing.accuracy_ood", "The router is right on queries from sources that it never saw")
async def accuracy_ood(facts: Facts) -> Finding:
    """Folds by source of its card, against `checklist.min_router_accuracy_ood`."""
    return _accuracy(facts, "source_folds", facts.settings.checklist.min_router_accuracy_ood, "rows of unseen sources")


def _accuracy(facts: Facts, folds: str, least: float, rows: str) -> Finding:
    found = _validation(facts).get(folds) or {}
    share = found.get("accuracy")
    if not isinstance(share, float):
        return Finding.warn(f"Its card has no accuracy on {rows}.", _TRAIN)
    low, high = found["accuracy_95"]
    said = (
        f"{share:.1%} right on {found['rows']:,} {rows} (95 %: {low:.1%} to {high:.1%}); at least {least:.0%} is asked."
    )
    return Finding.good(said) if share >= least else Finding.fail(said, _TRAIN)


@CHECKS.add("routing.abstention", "The router sends what it is unsure of to the default")
async def abstention(facts: Facts) -> Finding:
    """A floor, and how many queries it rejects wrongly."""
    record = facts.router_record
    own = facts.settings.router.floor
    floor = record.floor if own is None else own
    if floor == 0:
        return Finding.warn("The floor is 0: every query gets a domain, however unlike any it is.", "Set router.floor.")
    rejected = _validation(facts).get("false_rejection") if floor == record.floor else None
    known = f"; {rejected:.1%} of known queries fall below it" if isinstance(rejected, float) else ""
    return Finding.good(f"Below probability {floor:.2f} a query is general{known}.")


@CHECKS.add("routing.routes", "Every label has its route, and every route an adapter")
async def routes(facts: Facts) -> Finding:
    """Labels of the router against the settings; on a running server against what it serves."""
    record, settings = facts.router_record, facts.settings.routes
    strange = sorted(set(settings.adapters) - set(record.labels))
    if strange:
        return Finding.fail(
            f"routes.adapters names {', '.join(strange)}, which the router never says; it says "
            f"{', '.join(record.labels)}.",
            "Correct the spelling, or train the router with that label.",
        )
    named = {**settings.adapters, "default": settings.default}
    served = await _served(facts)
    gone = sorted({adapter for adapter in named.values() if adapter != "base" and adapter not in served})
    if gone:
        return Finding.fail(
            f"Routes name {', '.join(gone)}, which is not served.", "Add it, or change routes.adapters."
        )
    to_default = sorted(set(record.labels) - set(settings.adapters) - {"general"})
    rest = f" {', '.join(to_default)} and everything else use {settings.default}." if to_default else ""
    return Finding.good(f"{len(settings.adapters)} of {len(record.labels)} labels have an adapter of their own.{rest}")


async def _served(facts: Facts) -> set[str]:
    if facts.server is None:
        return set(facts.settings.adapters)
    status = await facts.server.get("/v1/status")
    return {adapter["name"] for adapter in status["adapters"]}


@CHECKS.add("routing.latency", "The router costs little time")
async def latency(facts: Facts) -> Finding:
    """Hop included, of the latest queries that a running server routed."""
    if facts.server is None:
        return Finding.not_applicable("No server was asked; give --url.")
    recent = (await facts.server.get("/v1/ledger/queries?limit=200"))["data"]
    took_ms = [
        attempt["ms"]
        for account in recent
        for attempt in account["attempts"]
        if attempt["role"] == "router" and attempt["outcome"] == "accepted"
    ]
    if not took_ms:
        return Finding.not_applicable("None of the latest queries was routed.")
    p50_ms = median(took_ms)
    said = f"{p50_ms:.1f} ms at the median of the latest {len(took_ms)} routed queries, {max(took_ms):.0f} ms at most."
    if p50_ms > _MOST_MS:
        return Finding.warn(said, "Give the router cores of its own, or a lighter classifier (docs/routing.md).")
    return Finding.good(said)


def _validation(facts: Facts) -> dict[str, Any]:
    found = facts.router_record.card.get("validation")
    return found if isinstance(found, dict) else {}
