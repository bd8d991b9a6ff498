"""Rows into train, validation and gate, so that no two near texts stand in different parts.

Whole groups of near texts are dealt out, by a hash of the group: the same rows give the same parts in any order, and a
row that is added later moves only its own group.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from serve_app.core import DataError
from serve_app.distill.near import groups

Part = Literal["train", "validation", "gate"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all rows; what is left trains."""

    validation: float = 0.2
    gate: float = 0.2


def split(ids: Sequence[str], texts: Sequence[str], bound: float, shares: Shares, seed: int = 0) -> list[Part]:
    """The part of each row. Raises DataError where a part would have no row."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups(texts, bound).tolist()):
        members[group].append(index)
    wanted = {"gate": shares.gate * len(ids), "validation": shares.validation * len(ids)}
    found: list[Part] = ["train"] * len(ids)
    for rows in sorted(members.values(), key=lambda rows: _hash(min(ids[row] for row in rows), seed)):
        part = _with_room(wanted, len(rows))
        if part is None:
            continue
        wanted[part] -= len(rows)
        for row in rows:
            found[row] = part
    _check(found, members)
    return found


def _with_room(wanted: dict[str, float], num_rows: int) -> Part | None:
    """The part that lacks most, unless the group is larger than what it lacks: large groups train."""
    lacks = max(wanted, key=lambda part: wanted[part])
    if num_rows > max(wanted[lacks], 0) + 0.5:
        return None
    return "gate" if lacks == "gate" else "validation"


def _check(found: Sequence[Part], members: dict[int, list[int]]) -> None:
    for part in PARTS:
        if part not in found:
            largest = max(map(len, members.values()), default=0)
            raise DataError(
                f"No row is left for the part {part!r}: {len(found)} rows form {len(members)} groups of near texts, "
                f"the largest of {largest}; export more queries, or raise `near.together`."
            )


def _hash(row_id: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{row_id}".encode()).hexdigest()
