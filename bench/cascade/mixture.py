"""Which queries the curves are over, and how good both models are on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cascade.tasks import APPROXIMATE
from serve_app.training.cascade.table import Table

NUM_SUPPORT = 200


def task_names(table: Table) -> np.ndarray[Any, np.dtype[np.str_]]:
    """(num_rows,)"""
    return np.array([row_id.split("/")[0] for row_id in table.ids])


def blended(table: Table) -> Table:
    """All queries but the surplus of `support`, which has more so that its guarantee can be tested."""
    surplus = np.flatnonzero(task_names(table) == "support")[NUM_SUPPORT:]
    return table.take(np.setdiff1d(np.arange(len(table)), surplus))


def exactly_scored(table: Table) -> Table:
    """Without the tasks that are scored by likeness to a reference."""
    return table.take(~np.isin(task_names(table), APPROXIMATE))


def describe(table: Table) -> dict[str, Any]:
    """Both models task by task and route by route, and on how much of the mix the large one is 10 points better."""
    names = task_names(table)
    tasks = {str(name): _both(table.take(names == name)) for name in np.unique(names)}
    harder = sum(found["rows"] for found in tasks.values() if found["large"] - found["small"] >= 0.1)
    return {
        "rows": len(table),
        "tasks": tasks,
        "routes": {key[0] or "": _both(table.take(table.of_group(key))) for key in table.groups},
        "share_where_large_is_10_points_better": harder / len(table),
    }


def _both(table: Table) -> dict[str, Any]:
    small, large = float(table.small_right.mean()), float(table.large_right.mean())
    return {"rows": len(table), "small": small, "large": large}
