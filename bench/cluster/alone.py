"""One part of the bench by itself: `python -m bench.cluster.PART [--quick] [--json FILE]`."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import machine


def run_alone(title: str, measure: Callable[[bool, Path], dict[str, Any]]) -> None:
    """Measure, write, and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=title.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter")
    parser.add_argument("--json", type=Path, metavar="FILE")
    wanted = parser.parse_args()
    circumstances = machine.describe("ray", "aiohttp")
    with tempfile.TemporaryDirectory() as folder:
        figures = {"machine": circumstances, **measure(wanted.quick, Path(folder))}
    if wanted.json:
        wanted.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))
