"""Labelled attempts as arrays: computed once, cut and resampled cheaply."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from serve_app.confidence.features import FEATURES, features
from serve_app.confidence.model import FloatArray
from serve_app.training.cascade.outcomes import LabelledAttempt

IntArray = np.ndarray[Any, np.dtype[np.intp]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

Key = tuple[str | None, str | None]
"""Route and adapter version."""


@dataclass(frozen=True)
class Table:
    """Arrays over rows (num_rows, ...); NaN where a value is not known."""

    checkpoints: tuple[int, ...]
    ids: np.ndarray[Any, np.dtype[np.object_]]
    keys: np.ndarray[Any, np.dtype[np.object_]]
    """A `Key` each."""
    features: FloatArray
    """(num_rows, len(checkpoints) + 1, len(FEATURES)): at each checkpoint that the draft passed, then at its end."""
    gain: FloatArray
    small_right: FloatArray
    large_right: FloatArray
    num_tokens: IntArray
    """Generated tokens with statistics; a checkpoint is passed by a draft that is longer."""
    small_prompt_tokens: FloatArray
    small_completion_tokens: FloatArray
    large_prompt_tokens: FloatArray
    large_completion_tokens: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: IntArray | BoolArray) -> Table:
        """The rows of these numbers, or where the mask is true."""
        cut = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "checkpoints"}
        return Table(self.checkpoints, **cut)

    @property
    def groups(self) -> list[Key]:
        """Routes and adapter versions, in a fixed order."""
        return sorted(set(self.keys), key=lambda key: (key[0] or "", key[1] or ""))

    def of_group(self, key: Key) -> BoolArray:
        """Mask of one route and adapter version."""
        return np.array([found == key for found in self.keys], dtype=bool)

    @property
    def sha256(self) -> str:
        """Digest of the rows as used, in their order."""
        digest = hashlib.sha256(repr((self.checkpoints, FEATURES)).encode())
        for row_id, key in zip(self.ids, self.keys, strict=True):
            digest.update(repr((row_id, key)).encode())
        for field in fields(self):
            values = getattr(self, field.name)
            if field.name not in ("checkpoints", "ids", "keys"):
                digest.update(np.ascontiguousarray(values).astype("<f8").tobytes())
        return digest.hexdigest()


def tabulate(attempts: Sequence[LabelledAttempt], checkpoints: Sequence[int]) -> Table:
    """The arrays of a log; `checkpoints` rising, empty for a rule that waits for the end."""
    keys = np.empty(len(attempts), dtype=object)
    keys[:] = [(attempt.route, attempt.adapter_version) for attempt in attempts]
    return Table(
        checkpoints=tuple(checkpoints),
        ids=np.array([attempt.id for attempt in attempts], dtype=object),
        keys=keys,
        features=_stage_features(attempts, checkpoints),
        gain=_numbers([attempt.gain for attempt in attempts]),
        small_right=_numbers([attempt.small_right for attempt in attempts]),
        large_right=_numbers([attempt.large_right for attempt in attempts]),
        num_tokens=np.array([len(attempt.tokens) for attempt in attempts], dtype=np.intp),
        small_prompt_tokens=_numbers([attempt.small_usage.prompt_tokens for attempt in attempts]),
        small_completion_tokens=_numbers([attempt.small_usage.completion_tokens for attempt in attempts]),
        large_prompt_tokens=_numbers([a.large_usage.prompt_tokens if a.large_usage else None for a in attempts]),
        large_completion_tokens=_numbers(
            [a.large_usage.completion_tokens if a.large_usage else None for a in attempts]
        ),
    )


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _stage_features(attempts: Sequence[LabelledAttempt], checkpoints: Sequence[int]) -> FloatArray:
    found = np.full((len(attempts), len(checkpoints) + 1, len(FEATURES)), np.nan)
    for row, attempt in enumerate(attempts):
        for stage, num_tokens in enumerate(checkpoints):
            if len(attempt.tokens) > num_tokens:
                found[row, stage] = features(attempt.evidence(num_tokens))
        found[row, -1] = features(attempt.evidence())
    return found
