"""Whether it stands the load, and fits the machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding, worst
from serve_app.config.serve import nodes_of

_ENGINES = ("specialists", "fallback")
_GRAPH = "production"
_ANSWERED = 0.99
"""Share of a load test's requests that must have been answered."""


@CHECKS.add("serving.load_test", "A load test within the SLO is on record", in_demo="warn")
async def load_test(facts: Facts) -> Finding:
    """A record of kind `load_test`: what `bench.load` writes, or `rate_per_s` and `first_text_p99_s`."""
    settings = facts.settings.checklist
    record = facts.records.latest("load_test")
    fix = "Run `python -m bench.load --url … --rate … --json FILE`, then `headrace record load_test --figures FILE`."
    if record is None:
        return Finding.fail("No load test is on record.", fix)
    found = _load(record.figures)
    if found is None:
        return Finding.fail("The record of the load test tells no rate, or no p99 of the first text.", fix)
    said = (
        f"{found.rate_per_s:g} queries/s, {found.answered} answered, first text within {found.p99_s:.2f} s "
        f"at p99, {record.age_days():.0f} days ago; {_ANSWERED:.0%}, {settings.first_text_slo_s:g} s and "
        f"{settings.max_record_days:g} days are asked."
    )
    is_short = found.answered_share is not None and found.answered_share < _ANSWERED
    if is_short or found.p99_s > settings.first_text_slo_s or record.age_days() > settings.max_record_days:
        return Finding.fail(said, fix)
    if not found.open_loop:
        return Finding.warn(f"{said} The clients could not keep up that rate, so less was offered.", fix)
    return Finding.good(said)


class _Load(NamedTuple):
    """What a load test came to."""

    rate_per_s: float
    """Offered."""
    p99_s: float
    """To the first text of what was answered."""
    answered_share: float | None
    """None: the record does not say."""
    open_loop: bool
    """Whether the rate was really offered, however slow the answers were; True where the record does not say."""

    @property
    def answered(self) -> str:
        """In words."""
        return "an untold share" if self.answered_share is None else f"{self.answered_share:.1%}"


def _load(figures: Mapping[str, Any]) -> _Load | None:
    """Of a record's figures; None where they are no load test's, or nothing was answered."""
    first_text_ms = figures.get("first_text_ms")
    if isinstance(first_text_ms, Mapping):
        rate, p99_ms = figures.get("offered_per_s"), first_text_ms.get("p99")
        p99_s = p99_ms / 1000 if isinstance(p99_ms, int | float) else None
    else:
        rate, p99_s = figures.get("rate_per_s"), figures.get("first_text_p99_s")
    if not isinstance(rate, int | float) or not isinstance(p99_s, int | float):
        return None
    planned, answered = figures.get("planned"), figures.get("answered")
    share = answered / planned if isinstance(planned, int) and isinstance(answered, int) and planned else None
    return _Load(rate, p99_s, share, figures.get("open_loop") is not False)


@CHECKS.add("serving.replicas", "No node of the graph hangs on one replica", in_demo="skip")
async def replicas(facts: Facts) -> Finding:
    """Two of each but the ledger, whose accounts wait on the gateways' disks while it is away."""
    single = [
        node
        for node in nodes_of(_GRAPH, facts.settings)
        if node != "ledger" and getattr(facts.settings.deployments, node).min_replicas < 2
    ]
    if "gateway" in single:
        return Finding.fail("With one gateway every update and every crash cuts answers off.", "Set two at least.")
    if single:
        return Finding.warn(
            f"{', '.join(single)} may be down to one replica: when it dies, queries wait for its successor.",
            "Set min_replicas to 2 where that is too long.",
        )
    return Finding.good("Each node has two replicas at least.")


@CHECKS.add("serving.autoscaling", "The number of replicas follows the load, within bounds", in_demo="skip")
async def autoscaling(facts: Facts) -> Finding:
    """Bounds of the engines."""
    settings = facts.settings
    fixed = [node for node in _ENGINES if not getattr(settings.deployments, node).scales]
    if fixed:
        return Finding.warn(
            f"{' and '.join(fixed)} have a fixed number of replicas: a burst waits, and a night is paid for.",
            "Set max_replicas above min_replicas (docs/scaling.md).",
        )
    return Finding.good(f"Engines scale between bounds, by policy `{settings.scaling.policy}`.")


@CHECKS.add("serving.fits", "The GPU and CPU shares of the replicas fit machines")
async def fits(facts: Facts) -> Finding:
    """A share of a GPU should divide it, and a replica fit one of `checklist.machines`; of a demonstration this one."""
    findings = []
    for node in nodes_of(_GRAPH, facts.settings):
        resources = getattr(facts.settings.deployments, node)
        gpus = resources.num_gpus
        if gpus > 1 and gpus != int(gpus):
            findings.append(
                Finding.fail(
                    f"{node} asks for {gpus:g} GPUs; Ray places a share of one, or whole ones.",
                    f"Set deployments.{node}.num_gpus to {round(gpus)}, or below 1.",
                )
            )
        elif 0 < gpus < 1 and int(1 / gpus) * gpus < 0.8:
            left = 1 - int(1 / gpus) * gpus
            findings.append(
                Finding.warn(
                    f"{int(1 / gpus)} replicas of {node} at {gpus:g} GPU leave {left:.0%} of each GPU unused.",
                    f"Set deployments.{node}.num_gpus to 1 divided by a whole number.",
                )
            )
    return worst([*findings, *_fits_nodes(facts)])


def _fits_nodes(facts: Facts) -> list[Finding]:
    """Against the machines that there are, where somebody knows them."""
    if not facts.machines:
        return [
            Finding.warn(
                "Nobody says which machines there are, so that nothing was compared.",
                "Name them in checklist.machines.",
            )
        ]
    findings = []
    for node in nodes_of(_GRAPH, facts.settings):
        resources = getattr(facts.settings.deployments, node)
        if not any(
            resources.num_cpus <= machine.num_cpus and resources.num_gpus <= machine.num_gpus
            for machine in facts.machines
        ):
            findings.append(
                Finding.fail(
                    f"No machine has the {resources.num_cpus:g} CPUs and {resources.num_gpus:g} GPUs that a replica of "
                    f"{node} takes.",
                    f"Lower deployments.{node}.num_cpus or num_gpus, or add such a machine.",
                )
            )
    return findings or [Finding.good(f"Each replica fits one of the {len(facts.machines)} kinds of machine.")]


@CHECKS.add("serving.timeouts", "Queries end, and updates wait for them")
async def timeouts(facts: Facts) -> Finding:
    """The longest answer against the time that a stopping replica gets."""
    gateway, deployments = facts.settings.gateway, facts.settings.deployments
    short = [
        f"{node} ({getattr(deployments, node).graceful_shutdown_s:g} s)"
        for node in ("gateway", *_ENGINES)
        if getattr(deployments, node).graceful_shutdown_s < gateway.timeout_s
    ]
    said = f"A query may take {gateway.timeout_s:g} s (gateway.timeout_s)"
    if short:
        return Finding.warn(
            f"{said}, and a stopping replica waits less: {', '.join(short)}. Longer answers are cut off by an update.",
            "Set graceful_shutdown_s to the longest answer that you wait for, or lower gateway.timeout_s.",
        )
    return Finding.good(f"{said}, and stopping replicas wait as long.")


@CHECKS.add("serving.admission", "Overload is refused, not queued")
async def admission(facts: Facts) -> Finding:
    """A target for the first text, by which gateways adapt how much they admit."""
    target_s = facts.settings.gateway.admission.target_first_token_s
    if target_s is None:
        return Finding.warn(
            f"Only gateway.max_in_flight ({facts.settings.gateway.max_in_flight}) bounds what is admitted: under "
            "overload every query is late.",
            "Set gateway.admission.target_first_token_s (docs/overload.md).",
        )
    return Finding.good(f"Gateways admit what gets its first text within {target_s:g} s.")


@CHECKS.add("serving.ready", "The running server is ready")
async def ready(facts: Facts) -> Finding:
    """`/readyz` of the server that was named."""
    if facts.server is None:
        return Finding.not_applicable("No server was asked; give --url.")
    page = await facts.server.get("/readyz")
    said = ", ".join(f"{node} {state}" for node, state in page["nodes"].items())
    if page["status"] == "ready":
        return Finding.good(f"Ready: {said}.")
    fix = "Look into the log of the node that does not answer."
    if page["status"] == "degraded":
        return Finding.warn(f"It is degraded: {said}.", fix)
    return Finding.fail(f"It is {page['status']}: {said}.", fix)
