"""Which rows teach the model, which set the threshold, and in which fold. By hash of the id: order does not matter."""

from __future__ import annotations

import hashlib

import numpy as np

from serve_app.training.cascade.table import BoolArray, IntArray, Table

NUM_FOLDS = 5


def threshold_part(table: Table, model_share: float, seed: int) -> BoolArray:
    """Mask (num_rows,) of the rows that set thresholds: in each group all but the first `model_share` by hash.

    No label is looked at, so that the rows of either part are draws from the same queries.
    """
    place = np.array([_hash(row_id, seed) for row_id in table.ids], dtype=object)
    mask = np.zeros(len(table), dtype=bool)
    for key in table.groups:
        rows = np.flatnonzero(table.of_group(key))
        ordered = rows[np.argsort(place[rows], kind="stable")]
        mask[ordered[round(model_share * len(rows)) :]] = True
    return mask


def folds(table: Table, right: BoolArray, seed: int) -> IntArray:
    """Fold of each row (num_rows,), with right and wrong rows of each group spread evenly."""
    place = [_hash(row_id, seed + 1) for row_id in table.ids]
    strata = [((key[0] or "", key[1] or ""), bool(label)) for key, label in zip(table.keys, right, strict=True)]
    order = sorted(range(len(table)), key=lambda row: (strata[row], place[row]))
    found = np.zeros(len(table), dtype=np.intp)
    found[order] = np.arange(len(table)) % NUM_FOLDS
    return found


def _hash(row_id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{row_id}".encode()).hexdigest()
