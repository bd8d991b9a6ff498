"""A cluster: what a lost replica, a lost node and an update are to clients."""

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
        f"{found['rolling_update_failed']} of {updates} queries failed. {circumstances}."
    )
