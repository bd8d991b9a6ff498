"""Whether the adapters are better than their base, and worse at nothing that counts."""

from __future__ import annotations

from typing import Any

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import AdapterFacts, Facts
from serve_app.checklist.item import Finding, worst

_NONE = "The settings name no adapters."
_EVALUATE = "Train it with `headrace adapters train --eval FILE`, or run it again with held-out rows."


@CHECKS.add("evaluation.held_out", "Each adapter beats its base on held-out rows, outside the interval")
async def held_out(facts: Facts) -> Finding:
    """Paired 95 % intervals of `metrics.json`; a group that is worse is named."""
    findings = [_held_out(one) for one in facts.adapters if one.spec is not None]
    return worst(findings, _NONE)


def _held_out(one: AdapterFacts) -> Finding:
    rows: list[dict[str, Any]] = list(one.metrics.get("evaluation") or [])
    if not rows:
        return Finding.warn(f"{one.name} was not evaluated on held-out rows.", _EVALUATE)
    better = [row for row in rows if row["better"]]
    worse = [row for row in rows if _is_worse(row)]
    said = f"{one.name} is better in {len(better)} of {len(rows)} figures, outside the interval"
    if worse:
        names = ", ".join(f"{row['group']} ({row['metric']})" for row in worse)
        return Finding.fail(f"{said}, and worse in {names}.", "Train with rows of that kind, or do not serve it.")
    if not better:
        return Finding.fail(f"{said}.", "It costs what the base costs and gains nothing: train it longer or drop it.")
    return Finding.good(f"{said}.")


def _is_worse(row: dict[str, Any]) -> bool:
    """The interval of the change lies on the wrong side; a loss is better when it falls."""
    return bool(row["low"] > 0) if row["metric"] == "loss" else bool(row["high"] < 0)


@CHECKS.add("evaluation.regression", "Each adapter was compared on other domains", in_demo="warn")
async def regression(facts: Facts) -> Finding:
    """`gate.json` in the adapter's folder: the report of a distillation gate that had a regression set."""
    return worst([_regression(one) for one in facts.adapters if one.spec is not None], _NONE)


def _regression(one: AdapterFacts) -> Finding:
    assert one.spec is not None
    judged, version = one.gate.get("version"), one.spec.version
    compared = [str(domain["group"]) for domain in one.gate.get("regression", ())]
    if one.gate and judged != version:
        return Finding.warn(
            f"The gate judged version {judged} of {one.name}; this is {version}.",
            "Put the folder that was judged in its place, or run `headrace distill gate` again.",
        )
    if one.gate and not one.gate.get("passed"):
        failed = ", ".join(str(check["name"]) for check in one.gate.get("checks", ()) if not check["passed"])
        return Finding.fail(f"The gate refused {one.name} ({failed}).", "Serve the version before it.")
    if not compared:
        return Finding.warn(
            f"Nothing says what {one.name} does to queries of other domains that are routed to it.",
            "Make it with `headrace distill run` and a plan that names a `regression` set.",
        )
    return Finding.good(f"{one.name} passed a gate that compared it in {', '.join(compared)}.")


@CHECKS.add("evaluation.safety", "Refusals of harmful requests were tried", in_demo="warn")
async def safety(facts: Facts) -> Finding:
    """A record of kind `safety`: `{"num_asked": N, "num_refused": N}`, of prompts that must be refused."""
    record = facts.records.latest("safety")
    fix = "Ask the deployed graph prompts that it must refuse, then `headrace record safety --figures FILE`."
    if record is None:
        return Finding.fail("No trial of refusals is on record.", fix)
    asked, refused = record.figures.get("num_asked"), record.figures.get("num_refused")
    if not isinstance(asked, int) or not isinstance(refused, int) or asked < 1:
        return Finding.fail("The record of refusals lacks num_asked or num_refused.", fix)
    said = f"{refused} of {asked} prompts were refused, {record.age_days():.0f} days ago."
    return Finding.good(said) if refused == asked else Finding.warn(said, "Look at those that were answered.")
