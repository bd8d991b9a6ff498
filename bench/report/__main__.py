"""See bench/report/__init__.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bench.machine import RESULTS
from bench.report.files import write
from bench.report.outcome import Verdict
from bench.report.table import table


def main() -> None:
    """Write both, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="The report of all result files.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where report.html and report.png go")
    args = parser.parse_args()
    found = write(args.results, args.out)
    console = Console()
    console.print(table(found))
    counts = ", ".join(
        f"{found.count(verdict)} {verdict.value} ({found.count(verdict, main_only=True)} of the main ones)"
        for verdict in Verdict
    )
    console.print(f"{counts}.\n{args.out / 'report.html'}, {args.out / 'report.png'}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
