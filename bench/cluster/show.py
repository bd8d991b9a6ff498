"""The tables of `python -m bench.cluster` for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: Mapping[str, Any]) -> None:
    """Print all."""
    console, cluster = Console(), result["cluster"]
    placement = cluster["placement"]
    nodes = "; ".join(", ".join(names) for names in placement["by_node"])
    console.print(f"placed after {placement['deployed_s']} s, on each node: {nodes}")
    for fault in placement["faults"]:
        console.print(f"placement: {fault}")
    console.print(_bursts(cluster["scaling"]))
    console.print(_blows(cluster["blows"]))
    books = cluster["books"]
    counts = ", ".join(f"{name} {books[name]}" for name in ("answered", "rows", "missing", "duplicate", "differing"))
    if cluster["errors_outside"]:
        console.print(f"errors outside the blows' windows: {cluster['errors_outside']}")
    console.print(f"books ({cluster['database']}): {counts}; exact: {'yes' if books['is_exact'] else 'NO'}")
    for update in result["rolling"]["updates"]:
        console.print(f"rolling update, {update['what']}: {update['failed']} of {update['queries']} queries failed")
    console.print(f"overload: at three times its rate {result['goodput_at_3x']:.0%} of the peak goodput is left")
    console.print(f"gateway: {result['gateway_overhead_p50_ms']} ms more than the engine alone, median")


def path(series: Sequence[Mapping[str, Any]], deployment: str) -> str:
    """Replicas over time.

    >>> path([{"at_s": 0.0, "running": {"A": 1}}, {"at_s": 9.5, "running": {"A": 2}}], "A")
    '1, 2 at 9.5 s'
    >>> path([{"at_s": 0.0, "running": {"A": 1}}, {"at_s": 9.5, "running": {"A": 1}}], "A")
    '1'
    """
    steps: list[str] = []
    last = None
    for one in series:
        count = one["running"][deployment]
        if count != last:
            steps.append(f"{count} at {one['at_s']} s" if steps else str(count))
        last = count
    return ", ".join(steps)


def _bursts(scaling: Mapping[str, Any]) -> Table:
    table = Table("burst for", "a second", "specialists", "fallback", "faults", title="replicas through two bursts")
    for burst in scaling["bursts"]:
        columns = (path(burst["series"], name) for name in ("Specialists", "Fallback"))
        table.add_row(burst["burst_of"], f"{burst['rate_per_s']:g}", *columns, "; ".join(burst["faults"]) or "none")
    return table


def _blows(blows: Sequence[Mapping[str, Any]]) -> Table:
    title = "killed under a constant load"
    table = Table(
        "blow", "requests", "errors", "not begun", "rate", "in outage", "recovered s", "restored s", title=title
    )
    for blow in blows:
        table.add_row(
            blow["what"],
            f"{blow['requests']} in {blow['window_s']} s",
            str(blow["errors"]),
            str(blow["errors_not_begun"]),
            f"{blow['error_rate']:.2%}",
            f"{blow['outage_error_rate']:.1%} of {blow['outage_requests']}",
            str(blow["recovery_s"]),
            str(blow["restored_s"]),
        )
    return table
