"""Reads the files in bench/results."""

import json
from typing import Any

from bench.machine import REPO

RESULTS = REPO / "bench" / "results"


def read(name: str) -> Any:
    """One result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def circumstances(facts: dict[str, Any]) -> str:
    """Where a bench ran."""
    return f"{facts['processor']}, {facts['cores']} cores, load {facts['load_1min_before']} at the start"


def taken(name: str) -> bool:
    """Whether the figures were measured yet."""
    return (RESULTS / f"{name}.json").is_file()
