"""See bench/affinity/__init__.py."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.affinity import live
from bench.affinity.simulate import simulate

FIGURES = ("hit_rate", "first_token_p50_ms", "first_token_p99_ms")


def main() -> None:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.affinity", description="See bench/affinity/__init__.py.")
    parser.add_argument("--quick", action="store_true", help="short rounds, fewer simulated calls; within 5 minutes")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "affinity.json", help="where figures go")
    args = parser.parse_args()
    circumstances = machine.describe("ray", "torch")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", ignore_cleanup_errors=True) as folder:
        found = live.measure(args.quick, Path(folder))
    simulated = simulate(args.quick, found["load_ms"] / 1000)
    result = {"bench": "affinity", "machine": circumstances, **found, "simulated": simulated}
    show(result)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    table = Table("traffic", "placed by", "hit rate", "first token p50 ms", "p99 ms")
    rows = {"two real replicas": result["live"]} | result["simulated"]["scenarios"]
    for name, ways in rows.items():
        for way, row in ways.items():
            table.add_row(
                name, way, *(f"{row[key]:.3f}" if key == "hit_rate" else f"{row[key]:.0f}" for key in FIGURES)
            )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
