"""Whether the promise of the cascade holds, and who watches it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts, Server
from serve_app.checklist.item import Finding, worst
from serve_app.confidence.policy import CascadePolicy, read
from serve_app.core import DataError

_FIT = "Label answers of your own traffic and fit: `headrace label`, then `headrace cascade fit` (docs/routing.md)."
_OFF = "There is no cascade: cascade.enabled is false."


@CHECKS.add("cascade.guarantee", "Thresholds come with a stated guarantee", in_demo="warn")
async def guarantee(facts: Facts) -> Finding:
    """A fitted policy in the place of a plain threshold."""
    settings = facts.settings.cascade
    if not settings.enabled:
        return Finding.not_applicable(_OFF)
    if settings.policy is None:
        return Finding.fail(
            f"{settings.signal} >= {settings.threshold:g} is a guess: nothing says how many answers are wrong.",
            _FIT,
        )
    policy = _policy(facts)
    assert policy is not None
    accepting = [route for route in policy.routes if route.threshold is not None]
    if not accepting:
        return Finding.fail("The policy accepts nothing: every query is escalated.", _FIT)
    unbound = [route.name for route in accepting if route.risk_bound is None]
    if unbound:
        return Finding.warn(
            f"{', '.join(unbound)} accept by a budget: nothing says how many answers are wrong.",
            "Fit with --alpha and without --budget-usd where a quality has to be kept (docs/routing.md).",
        )
    bounds = ", ".join(f"{route.name} at most {route.risk_bound:.0%} wrong" for route in accepting)
    return Finding.good(f"{len(accepting)} of {len(policy.routes)} routes accept: {bounds}.")


@CHECKS.add("cascade.calibration_age", "The calibration is recent")
async def calibration_age(facts: Facts) -> Finding:
    """Of the fitted policy, against `checklist.max_calibration_days`."""
    policy = _policy(facts)
    if policy is None:
        return Finding.not_applicable("There is no fitted policy.")
    if policy.provenance.created is None:
        return Finding.warn("The policy does not say when it was fitted.", _FIT)
    days = (time.time() - datetime.fromisoformat(policy.provenance.created).timestamp()) / 86_400
    most = facts.settings.checklist.max_calibration_days
    rows = f"{policy.provenance.num_rows:,} labelled rows"
    said = f"It was fitted {days:.0f} days ago on {rows}; at most {most:g} days are asked."
    return Finding.good(said) if days <= most else Finding.fail(said, _FIT)


@CHECKS.add("cascade.covers", "The policy was fitted for what is served")
async def covers(facts: Facts) -> Finding:
    """Adapter versions on disk, or on the running server, against those of the policy."""
    policy = _policy(facts)
    if policy is None:
        return Finding.not_applicable("There is no fitted policy.")
    versions = {one.name: one.spec.version for one in facts.adapters if one.spec is not None}
    if facts.server is not None:
        status = await facts.server.get("/v1/status")
        versions = {adapter["name"]: adapter["version"] for adapter in status["adapters"]}
    routes = facts.settings.routes
    fitted = {(route.route, route.adapter_version) for route in policy.routes}
    labels = [*routes.adapters, "general"]
    uncovered = []
    for label in dict.fromkeys(labels):
        adapter = routes.adapter_for(label)
        if (label, None if adapter is None else versions.get(adapter)) not in fitted:
            uncovered.append(label)
    if uncovered:
        what = "escalated" if facts.settings.cascade.unfitted == "escalate" else "accepted with no test"
        return Finding.warn(f"{', '.join(uncovered)}: the policy knows no such version, so all is {what}.", _FIT)
    return Finding.good(f"All {len(set(labels))} routes have thresholds for the version that is served.")


@CHECKS.add("cascade.audit", "Accepted answers are audited", in_demo="warn")
async def audit(facts: Facts) -> Finding:
    """A share of them is asked of the large model as well; on a running server no route may be breached."""
    settings = facts.settings.cascade
    if not settings.enabled:
        return Finding.not_applicable(_OFF)
    share = settings.watch.audit_share
    if share == 0:
        return Finding.fail("cascade.watch.audit_share is 0: a broken promise is never noticed.", "Set it to 0.01.")
    if facts.server is None:
        watched, findings = _watched(facts), []
    else:
        routes = await _held(facts.server)
        watched, findings = [str(route["route"]) for route in routes], [_audited(route) for route in routes]
    if not watched:
        return Finding.fail(
            "Nothing is audited: no route has both a fitted threshold and a target to be held to.",
            f"{_FIT} After a fit to a budget set cascade.watch.alpha.",
        )
    said = f"{share:.1%} of the accepted answers of {', '.join(watched)} are audited"
    return worst([Finding.good(f"{said}; on a breach: {settings.watch.on_breach}."), *findings])


def _audited(route: dict[str, Any]) -> Finding:
    """One route of a running server."""
    if route["state"] == "breached":
        return Finding.fail(
            f"Route {route['route']} is breached.", "Fit again, or set cascade.watch.on_breach to tighten."
        )
    scored, failed = route["audit"]["num_audited"], route["audit"]["num_not_scored"]
    if failed > scored:
        return Finding.warn(
            f"{failed} of {failed + scored} audits of {route['route']} could not be scored.",
            "Look whether cascade.watch.scorer, or the server that judges, works.",
        )
    return Finding.good(f"{route['route']}: {scored} audited.")


@CHECKS.add("cascade.drift", "Traffic looks as it did when the thresholds were set")
async def drift(facts: Facts) -> Finding:
    """Population stability of the signals, on a running server."""
    if facts.server is None:
        return Finding.not_applicable("No server was asked; give --url.")
    most = facts.settings.cascade.watch.psi_alert
    known = [
        (route, signal)
        for route in await _held(facts.server)
        for signal in route["audit"]["drift"]
        if signal["psi"] is not None
    ]
    if not known:
        return Finding.not_applicable("No route with a target has had enough queries to compare.")
    drifting = [
        f"{route['route']} ({signal['signal']} {signal['psi']:.2f})"
        for route, signal in known
        if signal["psi"] >= most and (route["state"] == "drifting" or signal["level"] != "stable")
    ]
    said = f"cascade.watch.psi_alert is {most:g}"
    if drifting:
        return Finding.fail(f"Signals drift: {', '.join(drifting)}; {said}.", _FIT)
    highest = max(signal["psi"] for _, signal in known)
    return Finding.good(f"The highest stability index of {len(known)} signals is {highest:.2f}; {said}.")


def _watched(facts: Facts) -> list[str]:
    """Routes that a gateway would audit: they accept something, and have a target."""
    policy = _policy(facts)
    held = policy.held(facts.settings.cascade.watch.alpha) if policy else ()
    return list(dict.fromkeys(route.name for route, _ in held))


async def _held(server: Server) -> list[dict[str, Any]]:
    """Routes of a running server that have a target to be held to."""
    return [route for route in (await server.get("/v1/status"))["routes"] if route["audit"] is not None]


def _policy(facts: Facts) -> CascadePolicy | None:
    """Raises DataError where the file that the settings name cannot be used."""
    name = facts.settings.cascade.policy
    if name is None or not facts.settings.cascade.enabled:
        return None
    path = facts.path(name)
    if not path.is_file():
        raise DataError(f"cascade.policy names {name}, which is not there; write it with `headrace cascade fit`.")
    return read(path)
