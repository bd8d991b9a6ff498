"""A cluster: what a lost replica, an update and too much traffic are to clients, and what the gateway takes."""

from typing import Any

from bench.cluster.show import path


def cluster(found: dict[str, Any], circumstances: str) -> str:
    """Blows in a table; placement, scaling and updates in words."""
    part = found["cluster"]
    rows = "\n".join(
        f"| {blow['what']} | {blow['errors']} of {blow['requests']} in {blow['window_s']} s "
        f"| {blow['errors_not_begun']} | {blow['recovery_s']} | {blow['restored_s']} |"
        for blow in part["blows"]
    )
    bursts = "; ".join(
        f"one for the {burst['burst_of'].lower()} took these to {path(burst['series'], burst['burst_of'])}"
        for burst in part["scaling"]["bursts"]
    )
    updates = sum(update["queries"] for update in found["rolling"]["updates"])
    return (
        "**A cluster**, of processes on one machine, with pretend GPUs and scripted engines: one head, five workers, "
        "two replicas of everything but the ledger,\nand requests that wait for no answer. Killed with `kill -9`; "
        "recovered: from then on answered as before, restored: as many replicas as before.\n\n"
        "| killed | errors | of these, nothing had arrived | recovered after s | restored after s |\n"
        f"|---|---|---|---|---|\n{rows}\n\n"
        f"Of {part['books']['answered']:,} queries answered to the end {part['books']['missing']} have no account and "
        f"{part['books']['duplicate']} two. Bursts: {bursts}, while the other deployments stayed as they were: "
        f"{'yes' if found['scaled_independently'] else 'no'}. Three rolling updates: "
        f"{found['rolling_update_failed']} of {updates} queries failed.\n\n"
        f"{_overload(found['overload'])}\n\n{_overhead(found['overhead'])} {circumstances}."
    )


def _overload(found: dict[str, Any]) -> str:
    first, settled = found["admitted_first_text_ms"], found["settled"]
    failed = found["other_failures"]
    return (
        f"**Overload**, three times what the scripted engines can do: {found['goodput_at_3x']:.0%} of the peak goodput "
        f"stayed, first text p50 {first['p50'] / 1e3:.2f} s and p99 {first['p99'] / 1e3:.2f} s (promised "
        f"{found['slo_first_text_s']:g} s), {found['refused_share']:.0%} refused, of these with 429 and `Retry-After` "
        f"{found['refused_with_retry_after_share']:.0%}; {failed} of {settled['sent']:,} failed otherwise."
    )


def _overhead(found: dict[str, Any]) -> str:
    cpu, bare = found["cpu_ms"], found["floor_cpu_ms"]
    rounds = ", ".join(f"{one:.2f}" for one in found["gateway_overhead_p50_ms_by_round"])
    by_name, auto, floor = (found[f"{way}_overhead_p50_ms"] for way in ("gateway", "auto", "floor"))
    return (
        f"**The gateway's price** beyond the engine alone, {found['rate_per_s']:g} queries a second, all on "
        f"the same cores: an adapter's name {by_name:.2f} ms p50 (by round {rounds}), `auto` {auto:.2f} ms; a bare "
        f"Serve ingress with one hop, behind the same HAProxy, {floor:.2f} ms. Processor time a query: "
        f"gateway {cpu['gateway']:.2f} ms, bare ingress {bare['bare']:.2f} ms."
    )
