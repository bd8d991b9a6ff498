"""Scaling: adapters over replicas, and our policy for their number beside Ray's."""

from collections.abc import Iterator, Mapping
from typing import Any

Mean = Mapping[str, float]
"""`mean` over seeds with the `half_width` of its 95 % interval."""


def affinity(found: dict[str, Any], circumstances: str) -> str:
    """Hit rates and times to the first token, by adapter and by Serve's own choice."""
    live, adapters, simulated = found["live"], found["adapters"], found["simulated"]
    real = f"{found['replicas']} real replicas, {adapters['number']} adapters, {live['affinity']['calls']} calls each"
    ways = {real: live, **{f"{name}, simulated": of for name, of in simulated["scenarios"].items()}}
    rows = "\n".join(
        f"| {name} | {of['affinity']['hit_rate']:.0%} | {of['power of two']['hit_rate']:.0%} "
        f"| {_first_token(of['affinity'])} | {_first_token(of['power of two'])} |"
        for name, of in ways.items()
    )
    overhead = found["overhead"]
    return (
        "**Many adapters on several replicas**: share of calls for which no adapter was loaded, and the first token, "
        f"by adapter and by Serve's own choice (power of two).\nAdapters of rank {adapters['rank']} by popularity "
        f"(Zipf, exponent {adapters['zipf']:g}), {adapters['slots']} slots a replica, {found['calls_per_s']:g} calls/s."
        "\n\n"
        "| | hit rate | Serve's | first token p50 / p99, ms | Serve's |\n|---|---|---|---|---|\n"
        f"{rows}\n\n"
        "Real: smollm2-135m-instruct, one thread each, the two ways in turn on the same calls; loading an adapter "
        f"took {found['load_ms']:.0f} ms. By round, hit rates were {_rounds(live, 'hit_rate_by_round', 100)} %, and "
        f"p99 {_rounds(live, 'first_token_p99_ms_by_round', 1)} ms (by adapter / Serve's).\nA whole call to an engine "
        f"that answers at once took {overhead['affinity']['p50_ms']:.2f} ms (p50) by adapter and "
        f"{overhead['power of two']['p50_ms']:.2f} ms by Serve's router. Simulated: {simulated['calls']:,} calls, "
        f"{simulated['seeds']} seeds. {circumstances}."
    )


def autoscale(found: dict[str, Any], circumstances: str) -> str:
    """A line for each trace and policy; traces with a fallback that may have no replica are in words."""
    traces = {name: of for name, of in found["traces"].items() if "to zero" not in name}
    rows = "\n".join(line for name, of in traces.items() for line in _lines(name, of))
    zero = "; ".join(
        f"{name.rpartition(', ')[2]}: {_of(of['Headrace'])}, Ray's default {_of(of['Ray default'])}"
        for name, of in found["traces"].items()
        if name not in traces
    )
    return (
        f"**Number of replicas**, simulated: {len(found['seeds'])} seeds of {found['minutes']} minutes, mean and 95 % "
        f"interval, differences paired on the same queries. SLO: first token within {found['slo_s']:g} s.\n\n"
        "| trace | policy | SLO met, % | p99 s | GPU-hours | ours minus this, points | ours saves, % of GPU-hours |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
        "Sparse traffic, a fallback that may go to zero (SLO met, GPU-hours, queries that got the small answer "
        f"meanwhile): {zero}. {circumstances}."
    )


def _lines(trace: str, policies: Mapping[str, Mapping[str, Mean]]) -> Iterator[str]:
    for name, of in policies.items():
        ours = name == "Headrace"
        gain, fewer = _percent(of["ours_minus_this_attainment"]), _percent(of["ours_fewer_gpu_hours_share"])
        yield (
            f"| {trace if ours else ''} | {name} | {_percent(of['attainment'], sign='')} | {of['p99_s']['mean']:.1f} "
            f"| {of['gpu_hours']['mean']:.2f} | {'' if ours else gain} | {'' if ours else fewer} |"
        )


def _percent(figure: Mean, sign: str = "+") -> str:
    return f"{100 * figure['mean']:{sign}.1f} ± {100 * figure['half_width']:.1f}"


def _of(policy: Mapping[str, Mean]) -> str:
    hours, small = policy["gpu_hours"]["mean"], policy["accepted_cold"]["mean"]
    return f"{_percent(policy['attainment'], sign='')} %, {hours:.2f}, {small:,.0f} of {policy['queries']['mean']:,.0f}"


def _first_token(way: Mapping[str, float]) -> str:
    return f"{way['first_token_p50_ms']:.0f} / {way['first_token_p99_ms']:.0f}"


def _rounds(live: Mapping[str, Any], key: str, scale: float) -> str:
    return " / ".join(", ".join(f"{scale * one:.0f}" for one in live[way][key]) for way in ("affinity", "power of two"))
