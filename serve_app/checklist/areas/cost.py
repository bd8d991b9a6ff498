"""Prices, budgets, and what is saved."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from importlib.metadata import version

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding
from serve_app.config.prices import ListPrices, PricesSettings
from serve_app.ledger import PriceBook

_DAYS = 30.0
_FEWEST_QUERIES = 100
_MOST_LOST = 0.001


@CHECKS.add("cost.prices", "Every served model has a price that is in force")
async def prices(facts: Facts) -> Finding:
    """The price book that bills are made with. Raises ConfigError where a model has none."""
    settings = facts.settings
    book = PriceBook(settings.prices, settings.fallback.model, (settings.specialists.model,))
    now = book.version_at(None)
    small, large = (now.rates_of(node.model) for node in (settings.specialists, settings.fallback))
    if small == large and settings.specialists.model != settings.fallback.model:
        return Finding.warn(
            f"Both models cost the same by version {book.version}, so that no cascade can save anything.",
            "Measure tokens per second of each (docs/ledger.md), and put the prices in.",
        )
    return Finding.good(f"Price version {book.version} is in force.")


@CHECKS.add("cost.price_age", "Prices are fresh")
async def price_age(facts: Facts) -> Finding:
    """The day from which the version in force counts, against `checklist.max_price_days`.

    List prices are as fresh as the installed package that they are read from.
    """
    prices = facts.settings.prices
    entries = [*prices.models.values(), *(entry for change in prices.changes for entry in change.models.values())]
    if all(isinstance(entry, ListPrices) for entry in entries):
        return Finding.good(
            f"All prices are read from genai-prices {version('genai-prices')}; update it with the rest."
        )
    began = _began(prices)
    if began is None:
        return Finding.warn(
            f"Version {facts.settings.prices.version} does not say since when it counts.",
            "Write prices.changes with effective_from when prices change, and once now.",
        )
    days = (time.time() - began.timestamp()) / 86_400
    most = facts.settings.checklist.max_price_days
    said = f"The prices in force count since {began:%Y-%m-%d}; at most {most:g} days are asked."
    return Finding.good(said) if days <= most else Finding.warn(said, "Look whether they still hold.")


def _began(prices: PricesSettings) -> datetime | None:
    now = datetime.now(UTC)
    past = [change.effective_from for change in prices.changes if change.effective_from <= now]
    return past[-1] if past else None


@CHECKS.add("cost.budgets", "Spending is bounded", in_demo="warn")
async def budgets(facts: Facts) -> Finding:
    """A limit on all queries, and on each key."""
    settings = facts.settings.budgets
    if not (settings.total or settings.each_key or settings.keys):
        return Finding.fail(
            "No budget is set: one client in a loop may spend without end.", "Set budgets.total and budgets.each_key."
        )
    if not settings.total:
        return Finding.warn("No limit holds for all queries together.", "Set budgets.total.")
    if not settings.each_key:
        return Finding.warn(
            "A key without limits of its own may use up what is there for all.", "Set budgets.each_key."
        )
    return Finding.good(
        f"{len(settings.total)} limits on all queries and {len(settings.each_key)} on each key are set."
    )


@CHECKS.add("cost.saved", "It saves what it should", in_demo="warn")
async def saved(facts: Facts) -> Finding:
    """Share of the always-large bill over 30 days, against `checklist.saved_target`."""
    totals = await facts.totals(_DAYS)
    if totals is None:
        return Finding.not_applicable("There is no ledger yet.")
    if totals["queries"] < _FEWEST_QUERIES or totals["saved_share"] is None:
        return Finding.not_applicable(f"{totals['queries']} queries in {_DAYS:.0f} days say nothing yet.")
    share, target = totals["saved_share"], facts.settings.checklist.saved_target
    rate = totals["escalation_rate"]
    said = (
        f"{share:.1%} of the always-large bill of {_DAYS:.0f} days was saved, with {rate:.1%} of "
        f"{totals['queries']:,} queries escalated; the target is {target:.0%}."
    )
    if share >= target:
        return Finding.good(said)
    return Finding.fail(said, "See `headrace ledger report --group-by route`, then fit or distil the dearest route.")


@CHECKS.add("cost.lost", "No query is lost without an account", in_demo="warn")
async def lost(facts: Facts) -> Finding:
    """Outcome `lost` over 30 days: their gateways died, and nobody knows what they used."""
    totals = await facts.totals(_DAYS)
    if totals is None or not totals["queries"]:
        return Finding.not_applicable("There are no accounts yet.")
    share = totals["lost"] / totals["queries"]
    said = f"{totals['lost']} of {totals['queries']:,} queries of {_DAYS:.0f} days were lost with their gateways."
    return Finding.good(said) if share < _MOST_LOST else Finding.fail(said, "Look why gateways die (docs/faults.md).")
