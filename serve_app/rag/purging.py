"""Takes the bytes of deleted rows off the disk, however large the table is that they were in.

LanceDB marks rows as deleted, and writes a fragment (a file of rows) anew only where more than a tenth of its rows are
gone. So of a fragment with gaps some more rows are updated to what they are, which moves them to a new fragment; then
the old one is written anew. Indexes stay usable all the while.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lancedb.table import Table

_MOVED_SHARE = 0.12
"""Of a fragment's rows: more than the tenth from which on LanceDB writes a fragment anew."""
KEPT = timedelta(minutes=1)
"""Files of older versions stay so long, for the searches that still read them."""
_LAST_ROW = 2**63 - 1


def rewrite_fragments(table: Table) -> None:
    """Afterwards no fragment of the current version holds a deleted row. Raises RuntimeError where that fails."""
    for move_all in (False, False, True):  # gaps at the ends of fragments do not show
        if not _has_deleted(table):
            return
        for first, last in [(0, _LAST_ROW)] if move_all else _moves(_row_ids(table)):
            table.update(where=f"_rowid >= {first} AND _rowid <= {last}", values_sql={"ordinal": "ordinal"})
        table.optimize(cleanup_older_than=KEPT)
    if _has_deleted(table):
        raise RuntimeError("deleted rows cannot be taken off the disk")


def drop_old_files(table: Table) -> None:
    """Only files of the current version stay: readers of older ones fail, and open the table again."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that warning is the sentence above
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)


def stored_rows(table: Table) -> int:
    """Rows in the fragments of the current version, those that are only marked as deleted included."""
    fragments = table.stats()["fragment_stats"]
    return round(float(fragments["lengths"]["mean"] * fragments["num_fragments"]))


def num_fragments(table: Table) -> int:
    """Files of rows in the current version."""
    return int(table.stats()["fragment_stats"]["num_fragments"])


def _has_deleted(table: Table) -> bool:
    return stored_rows(table) > int(table.count_rows())


def _row_ids(table: Table) -> npt.NDArray[np.uint64]:
    found = table.search().select(["ordinal"]).with_row_id(True).to_arrow()
    return np.sort(found["_rowid"].to_numpy())


def _moves(row_ids: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """First and last id of the rows to move, for each fragment with gaps. A row's id is its fragment's, and its place.

    >>> list(_moves(np.array([0, 1, 2, (7 << 32) + 1, (7 << 32) + 2], dtype=np.uint64)))
    [(30064771073, 30064771073)]
    """
    fragments = row_ids >> np.uint64(32)
    for fragment in np.unique(fragments):
        ids = row_ids[fragments == fragment]
        places = int(ids[-1] & np.uint64(0xFFFFFFFF)) + 1
        if places > len(ids):
            yield int(ids[0]), int(ids[int(len(ids) * _MOVED_SHARE)])
