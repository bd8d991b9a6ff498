"""Passages before the questions of training and held-out rows, so that an adapter learns to read what it is served.

The prompt is made by the same functions as in serving (`serve_app.passages`). Training rows are mixed as in RAFT (Zhang
et al., "RAFT: Adapting Language Model to Domain Specific RAG", 2024): most have the passage that holds the answer among
distractors, a share has distractors alone, and every other row has its passages in another order than the search's, so
that the adapter neither believes whatever stands there nor always copies the first. Held-out and validation rows get
what a query would get: the best passages of the search, whether the right one is among them or not.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from serve_app.core import DataError, Passage
from serve_app.labelling.texts import tokens
from serve_app.passages import fitting, with_passages
from serve_app.training.dataset import Dataset
from serve_app.training.options import TrainingError
from serve_app.training.rows import Row

_SEARCHED_PER_PLACE = 4
"""Passages looked at for each that is kept: a right one further down is pulled up, and distractors are not wanting."""
_SHUFFLED_SHARE = 0.5
_RIGHT_COVERAGE = 0.6
"""Share of the completion's words that a passage must hold to count as the right one."""

Find = Callable[[Row, int], Sequence[Passage]]
"""At most so many passages for a row's question, best first."""


@dataclass(frozen=True, slots=True)
class PassagePlan:
    """Where passages come from and how many stand before a question."""

    find: Find
    source: str
    """For the card: the rows' own, or which collection of which store at which version."""
    limit: int = 6
    """Most passages of a row."""
    budget_tokens: int = 768
    """Most tokens of a row's passages together."""
    without_right: float = 0.2
    """Share of the training rows that get distractors only."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises TrainingError naming the value that is wrong."""
        if self.limit < 1:
            raise TrainingError(f"--passages is {self.limit}; give at least 1.")
        if not 0 <= self.without_right <= 1:
            raise TrainingError(f"--without-right is {self.without_right:g}; give a share between 0 and 1.")


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """What the card says of the passages; counts are of training rows."""

    source: str
    limit: int
    budget_tokens: int
    rows_with_right: int
    """Rows that have the passage that holds the answer."""
    rows_with_distractors: int
    """Rows that have other passages only."""
    rows_without: int
    """Rows for which no passage was found, or none fits."""
    sha256: str
    """Of all prompts that were made, held-out and validation ones included."""


def put_before(dataset: Dataset, plan: PassagePlan) -> Dataset:
    """The dataset with passages in its prompts. Raises DataError where no training row got any."""
    rng = random.Random(plan.seed)
    counts: Counter[str] = Counter()
    train = [_training_row(row, plan, rng, counts) for row in dataset.train]
    if not counts["right"] + counts["distractors"]:
        raise DataError("no training row got a passage; give rows the field passages, or a store that holds some.")
    evaluation, validation = (
        [_served_row(row, plan) for row in rows] for rows in (dataset.evaluation, dataset.validation)
    )
    record = PassageRecord(
        source=plan.source,
        limit=plan.limit,
        budget_tokens=plan.budget_tokens,
        rows_with_right=counts["right"],
        rows_with_distractors=counts["distractors"],
        rows_without=counts["none"],
        sha256=_digest([*train, *evaluation, *validation]),
    )
    return replace(dataset, train=train, evaluation=evaluation, validation=validation, passages=asdict(record))


def rows_own(count_tokens: Callable[[str], int]) -> Find:
    """The passages that stand in the rows themselves, in their order; `count_tokens` as the base counts."""

    def find(row: Row, limit: int) -> Sequence[Passage]:
        return [
            Passage(
                passage_id=f"{row.source}#{index}",
                document_id=row.source,
                collection="",
                title=given.title,
                text=given.text,
                start=0,
                end=len(given.text),
                num_tokens=count_tokens(given.text),
                score=0.0,
                metadata={} if given.right is None else {_MARK: str(given.right)},
            )
            for index, given in enumerate(row.passages[:limit])
        ]

    return find


_MARK = "right"


def coverage(passage: str, completion: str) -> float:
    """Share of the completion's words that stand in the passage too.

    >>> coverage("The sky is blue by day.", "blue by night")
    0.6666666666666666
    """
    wanted = Counter(tokens(completion.casefold()))
    held = wanted & Counter(tokens(passage.casefold()))
    return held.total() / wanted.total() if wanted else 0.0


def right_among(row: Row, found: Sequence[Passage]) -> list[Passage]:
    """Those that hold the row's answer, best first.

    That is what the row marks; without marks those of the row's `document`, or of any where it names none, that hold
    most words of the completion.
    """
    if any(_MARK in one.metadata for one in found):
        return [one for one in found if one.metadata.get(_MARK) == str(True)]
    named = [one for one in found if row.document in (None, one.document_id)]
    held = {one.passage_id: coverage(one.text, row.completion) for one in named}
    right = [one for one in named if held[one.passage_id] >= _RIGHT_COVERAGE]
    return sorted(right, key=lambda one: -held[one.passage_id])


def _training_row(row: Row, plan: PassagePlan, rng: random.Random, counts: Counter[str]) -> Row:
    """The row with passages; draws the same random numbers whatever was found."""
    left_out, shuffled = rng.random() < plan.without_right, rng.random() < _SHUFFLED_SHARE
    order = random.Random(rng.random())
    found = list(plan.find(row, plan.limit * _SEARCHED_PER_PLACE))
    right = right_among(row, found)
    others = [one for one in found if one not in right]
    with_right = bool(right) and not left_out
    chosen = _chosen([right[0], *others] if with_right else others, plan)
    if shuffled:
        order.shuffle(chosen)
    else:
        chosen.sort(key=found.index)
    counts["none" if not chosen else "right" if with_right and right[0] in chosen else "distractors"] += 1
    return replace(row, messages=with_passages(row.messages, chosen))


def _served_row(row: Row, plan: PassagePlan) -> Row:
    return replace(row, messages=with_passages(row.messages, _chosen(plan.find(row, plan.limit), plan)))


def _chosen(passages: Sequence[Passage], plan: PassagePlan) -> list[Passage]:
    return list(fitting(passages[: plan.limit], plan.budget_tokens))


def _digest(rows: Sequence[Row]) -> str:
    whole = hashlib.sha256()
    for row in rows:
        for message in row.messages:
            whole.update(f"{message.role}\0{message.content}\0".encode())
    return whole.hexdigest()


def describe(record: dict[str, Any]) -> str:
    """The card's sentence."""
    return (
        f"Trained with passages before the question, as the model `rag` puts them (RAFT, Zhang et al. 2024): up to "
        f"{record['limit']} of together at most {record['budget_tokens']} tokens from {record['source']}. "
        f"{record['rows_with_right']} rows have the passage that holds the answer among them, "
        f"{record['rows_with_distractors']} have other passages only, {record['rows_without']} have none. Held-out and "
        f"validation rows have what the search finds. Prompts' sha256 `{record['sha256']}`."
    )
