"""What an adapter is worth behind a router: rows that the router sends elsewhere gain nothing from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.training.rows import Row
from serve_app.training.statistics import Comparison, RowScore, compare

Labeller = Callable[[Sequence[str]], Sequence[str]]
"""The last user turn of each row to the label that a router gives it."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The comparison once more, as routed."""

    share: float
    """Of the held-out rows that the router gives to this adapter."""
    comparisons: tuple[Comparison, ...]


def as_routed(
    name: str,
    rows: Sequence[Row],
    before: Sequence[RowScore],
    after: Sequence[RowScore],
    labeller: Labeller,
    seed: int,
) -> Routed:
    """Rows labelled `name` score as with the adapter, the others as the bare base does."""
    labels = labeller([row.messages[-1].content for row in rows])
    hits = [label == name for label in labels]
    served = [new if hits[new.row] else old for old, new in zip(before, after, strict=True)]
    return Routed(sum(hits) / len(hits), tuple(compare(before, served, seed)))
