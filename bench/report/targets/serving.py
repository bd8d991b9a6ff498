"""Gateway, cluster and autoscaling: what serving adds, and what faults, updates and bursts do to clients."""

from __future__ import annotations

from bench.report.target import (
    YES,
    At,
    Beside,
    Section,
    Target,
    Unit,
    at,
    at_least,
    at_most,
    below,
    exactly,
    named,
    worked,
)

_PRETEND = "A local cluster with pretend GPUs and scripted engines, on the cores of one machine."

GATEWAY = Section(
    "Gateway",
    (
        Target(
            "gateway-overhead",
            "under 3 ms at the median over calling the engine directly, with the Serve switches on",
            "cluster",
            at("gateway_overhead_p50_ms"),
            below(3),
            Unit.MS,
            interval=worked(
                "smallest and largest round",
                lambda rounds: (min(rounds), max(rounds)),
                at("overhead", "gateway_overhead_p50_ms_by_round"),
            ),
            beside=(
                Beside("p99", at("overhead", "gateway_overhead_p99_ms"), Unit.MS),
                Beside("auto, with the router's hop", at("overhead", "auto_overhead_p50_ms"), Unit.MS),
                Beside("Ray Serve alone", at("overhead", "floor_overhead_p50_ms"), Unit.MS),
                Beside("requests", at("overhead", "rate_per_s"), Unit.RATE),
            ),
            how="One hop, model = an adapter; the range is over rounds. Clients, HAProxy, gateway, engine and router "
            "share the cores.",
            main=True,
        ),
    ),
)

CLUSTER = Section(
    "Cluster",
    (
        Target(
            "kill-errors",
            "kill -9 of any replica and of a node: an error rate under 1 %",
            "cluster",
            at("kill_error_rate"),
            below(0.01),
            Unit.SHARE,
            beside=(
                Beside("blows", worked("blows", len, at("cluster", "blows")), Unit.COUNT),
                Beside("longest to answer as before", at("recovery_s"), Unit.SECONDS),
            ),
            how=f"The worst blow. {_PRETEND}",
        ),
        Target(
            "kill-lost",
            "and no finished query lost",
            "cluster",
            at("cluster", "books", "missing"),
            exactly(0),
            Unit.COUNT,
            beside=(
                Beside("answered", at("cluster", "books", "answered"), Unit.COUNT),
                Beside("twice", at("cluster", "books", "duplicate"), Unit.COUNT),
            ),
        ),
        Target(
            "scaled-apart",
            "deployments scale up and down apart from each other under bursts",
            "cluster",
            at("scaled_independently"),
            YES,
            Unit.YES,
            how=_PRETEND,
        ),
        Target(
            "rolling-failed",
            "a rolling update under load fails no query",
            "cluster",
            at("rolling_update_failed"),
            exactly(0),
            Unit.COUNT,
            beside=(
                Beside(
                    "queries during updates",
                    worked("queries", lambda rows: sum(row["queries"] for row in rows), at("rolling", "updates")),
                    Unit.COUNT,
                ),
            ),
            how="A new code version, new settings and a new user_config; two replicas each.",
        ),
        Target(
            "rolling-wait",
            "and none waits over 2 s more than the steady p99",
            "cluster",
            at("longest_wait_over_p99_s"),
            at_most(2),
            Unit.SECONDS,
        ),
        Target(
            "overload-goodput",
            "at 3 × capacity goodput stays at 90 % of its peak",
            "cluster",
            at("goodput_at_3x"),
            at_least(0.9),
            Unit.SHARE,
            beside=(
                Beside("peak", at("overload", "peak_goodput_per_s"), Unit.RATE),
                Beside("the engine's capacity", at("overload", "engine_capacity_per_s"), Unit.RATE),
            ),
        ),
        Target(
            "overload-latency",
            "the admitted stay within the SLO",
            "cluster",
            worked(
                "p99 to the first text, in s", lambda ms: ms / 1000, at("overload", "admitted_first_text_ms", "p99")
            ),
            at_most(named("the SLO", at("overload", "slo_first_text_s"))),
            Unit.SECONDS,
            beside=(
                Beside("p50", at("overload", "admitted_first_text_ms", "p50"), Unit.MS),
                Beside("p90", at("overload", "admitted_first_text_ms", "p90"), Unit.MS),
            ),
            how="No percentile was asked for; p99 to the first text is taken.",
        ),
        Target(
            "overload-refused",
            "and all others get 429 with Retry-After",
            "cluster",
            at("overload", "refused_with_retry_after_share"),
            exactly(1),
            Unit.SHARE,
            beside=(Beside("failed otherwise", at("overload", "other_failures"), Unit.COUNT),),
        ),
    ),
)


def _against_default(trace: str, figure: str, part: str = "mean") -> At:
    return at("traces", trace, "Ray default", figure, part)


def _simulated(name: str, says: str, trace: str, figure: str, least: float, unit: Unit, beside: str) -> Target:
    return Target(
        name,
        f"{says}, {trace}",
        "autoscale_sim",
        _against_default(trace, figure),
        at_least(least),
        unit,
        interval=worked(
            "mean ± half width",
            lambda mean, half: (mean - half, mean + half),
            _against_default(trace, figure),
            _against_default(trace, figure, "half_width"),
        ),
        beside=tuple(
            Beside(policy, at("traces", trace, policy, beside, "mean"), _SIMULATED[beside])
            for policy in ("Headrace", "Ray default", "Ray, up at once", "Ray, up at once, down in 120 s")
        ),
        how="Simulated; intervals over seeds, paired.",
    )


_SIMULATED = {"attainment": Unit.SHARE, "gpu_hours": Unit.HOURS}

SCALING = Section(
    "Autoscaling, simulated",
    tuple(
        target
        for number, trace in enumerate(("bursts", "ramped bursts"), start=1)
        for target in (
            _simulated(
                f"attainment-{number}",
                "SLO attainment at least that of Ray's default policy",
                trace,
                "ours_minus_this_attainment",
                0,
                Unit.POINTS,
                "attainment",
            ),
            _simulated(
                f"gpu-hours-{number}",
                "with at least 20 % fewer GPU-hours",
                trace,
                "ours_fewer_gpu_hours_share",
                0.2,
                Unit.SHARE,
                "gpu_hours",
            ),
        )
    ),
)
