"""The graph on a cluster: placed, scaled, hurt, updated under load, overloaded; and what each does to its clients.

    python -m bench.cluster [--quick] [--json FILE]

1. `bench.cluster.run`: a local cluster of one head and five workers with a pretend GPU each, the graph with scripted
   engines deployed from settings. One replica of each role is placed (0.3, 0.5 and 1 GPU); a burst for the specialists
   and one for the fallback scale them apart; then, under a constant open-loop load, one replica of each deployment and
   two whole nodes are killed with `kill -9`, and the ledger's rows are held against the clients' own books.
2. `bench.cluster.rolling`: a new version, new settings and a new `user_config` of a graph with two replicas each, under
   load.
3. `bench.cluster.overload`: goodput at three times the rate at which it peaks, with admission by tier.
4. `bench.cluster.overhead`: what the gateway adds to a query.

`kill_error_rate` is the worst share of requests that failed, over those under way at a blow or due in the window after
it (its length is with it, and the share over the outage alone); `recovery_s` the longest time to a full second of
requests answered as before. What limits the figures: nodes, clients and database share the cores of one
machine, so a replica takes longer to start than on nodes of its own, and slows the others while it does. Exits with 1
when the books differ.
Writes bench/results/cluster.json, unless --json names another file, and prints it as the last line.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import machine
from bench.cluster import overhead, overload, rolling, run
from bench.cluster.show import show

PARTS: Mapping[str, Callable[[bool, Path], dict[str, Any]]] = {
    "cluster": run.measure,
    "rolling": rolling.measure,
    "overload": overload.measure,
    "overhead": overhead.measure,
}
"""Name in the result -> what measures it: quick or not, and a folder of its own."""
HEADLINES = {
    "kill_error_rate": "cluster",
    "recovery_s": "cluster",
    "scaled_independently": "cluster",
    "rolling_update_failed": "rolling",
    "longest_wait_over_p99_s": "rolling",
    "goodput_at_3x": "overload",
    "gateway_overhead_p50_ms": "overhead",
}
"""Figure at the top level -> the part that has it."""


def main() -> None:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each blow once, short windows; within 8 minutes")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "cluster.json", help="where figures go")
    args = parser.parse_args()
    circumstances = machine.describe("ray", "sqlalchemy", "httpx", "aiohttp")
    circumstances["command"] = shlex.join(["python", "-m", "bench.cluster", *(["--quick"] if args.quick else [])])
    parts: dict[str, Any] = {}
    for name, measure in PARTS.items():
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as folder:
            parts[name] = measure(args.quick, Path(folder))
        parts[name]["seconds"] = round(time.monotonic() - began_s)
        print(f"{name}: {json.dumps(parts[name])}", file=sys.stderr, flush=True)  # not lost if a later part fails
    headlines = {figure: parts[part][figure] for figure, part in HEADLINES.items()}
    result = {"bench": "cluster", "machine": circumstances, **headlines, **parts}
    show(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    sys.exit(0 if parts["cluster"]["books"]["is_exact"] else 1)


if __name__ == "__main__":
    main()
