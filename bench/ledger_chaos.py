"""The ledger under faults: clients ask while replicas are killed and the database is away, and the books are compared.

    python -m bench.ledger_chaos [--quick] [--database auto|sqlite|postgres] [--json FILE]

1. The cascade graph runs with scripted engines in a real Ray: two gateways, one ledger. Clients ask without a pause:
   whole answers, streams, escalations, several choices, and streams that they leave.
2. `kill -9` of a gateway, the ledger, a specialist and a fallback replica; the database is stopped as by a crash and
   started, and a gateway is killed while it is away. Then the rows are held against what clients counted and were told.
3. What the ledger adds to a query at 500 queries/s, with it and without it in turn; see `bench.chaos.overhead`.
   `overhead_p50_ms` and `overhead_p99_ms` are those of `durability: local`.

Without a PostgreSQL server (`apt-get install postgresql`) the database is a SQLite file, which is not stopped. What
limits the figures: both cores are shared by all of it, the clients too. Exits with 1 when the books differ.
Writes bench/results/ledger_chaos.json, unless --json names another file, and prints it as the last line.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.chaos.graph import running, write_settings
from bench.chaos.overhead import Load, measure
from bench.chaos.plan import Chaos
from bench.chaos.reconcile import is_exact, read_totals, reconcile
from bench.postgres import private_cluster, server_programs

BLOWS = ("Gateway", "Ledger", "Specialists", "Fallback")
NUM_GATEWAYS = 2


def hurt(folder: Path, database: str, repeats: int, calm_s: float) -> dict[str, Any]:
    """The graph under faults, and how its books compare."""
    with ExitStack() as held:
        cluster = held.enter_context(private_cluster(folder=None)) if database == "postgres" else None
        url = held.enter_context(cluster.database()) if cluster else f"sqlite:///{folder / 'ledger.sqlite3'}"
        settings = write_settings(folder, url, NUM_GATEWAYS)
        started_s = time.monotonic()
        graph = held.enter_context(running(settings, folder / "stderr.log"))
        chaos = Chaos(graph, url, cluster, calm_s=calm_s)
        seen, rows = asyncio.run(chaos.run(*BLOWS * repeats))
        report = reconcile(seen, rows)
        totals = asyncio.run(read_totals(url))
    agree = totals["queries"] == sum(row.shadow_of is None for row in rows)
    return report | {
        "database": database,
        "kills": sum(blow["what"].startswith("kill") for blow in chaos.blows),
        "blows": chaos.blows,
        "totals_agree": agree,
        "is_exact": is_exact(report) and agree,
        "seconds": round(time.monotonic() - started_s),
        "broken": sorted({one.why[:120] for one in seen if one.end in ("broken", "refused")})[:10],
    }


def show(result: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console()
    table = Table("what", "count", title=f"clients against the ledger, {result['database']}")
    for name in ("requests", "answered", "rows", "missing", "duplicate", "differing", "begun_missing", "strangers"):
        table.add_row(name, f"{result[name]:,}")
    console.print(table)
    table = Table("blow", "at s", "as before after s")
    for blow in result["blows"]:
        table.add_row(blow["what"], str(blow["at_s"]), str(blow.get("as_before_after_s", "")))
    console.print(table)
    overhead = result["overhead"]
    title = f"a query at {overhead['queries_per_s']} queries/s"
    table = Table("ledger", "p50 ms", "p99 ms", "loop's CPU ms", "gateway's CPU ms", title=title)
    columns = ("p50", "p99", "cpu", "process_cpu")
    for name, figures in overhead["whole"].items():
        table.add_row(name, *(str(figures[figure]) for figure in columns))
    for name, figures in overhead["added"].items():
        table.add_row(f"added by {name}", *(str(figures[figure]) for figure in columns))
    console.print(table)


def main() -> None:
    """Parse, hurt, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each blow once, fewer rounds; under 5 minutes")
    parser.add_argument("--database", choices=("auto", "sqlite", "postgres"), default="auto")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "ledger_chaos.json", help="where figures go")
    args = parser.parse_args()
    database = args.database
    if database == "auto":
        database = "sqlite" if server_programs() is None else "postgres"
    result = {"bench": "ledger_chaos", "machine": machine.describe("ray", "sqlalchemy")}
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
        result |= hurt(Path(folder), database, 1 if args.quick else 3, 2.0 if args.quick else 5.0)
    with tempfile.TemporaryDirectory(prefix="headrace-overhead-") as folder:
        overhead = measure(Path(folder), Load(rounds=4 if args.quick else 10))
    local = overhead["added"]["local"]
    result |= {"overhead_p50_ms": local["p50"], "overhead_p99_ms": local["p99"], "overhead": overhead}
    show(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    sys.exit(0 if result["is_exact"] else 1)


if __name__ == "__main__":
    main()
