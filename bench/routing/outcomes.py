"""RouteLLM's outcome files: which of two models answered which benchmark question right. See SOURCE.txt beside them."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.confidence.model import FloatArray
from serve_app.confidence.surface import surface
from serve_app.router.text import clip
from serve_app.training.gain import GainRow, curve
from serve_app.training.gain.regression import IntArray

BENCHMARKS = ("mmlu", "gsm8k")
"""Those with right and wrong answers, in the order they are reported; mt_bench is a third test set of 72 rows."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One benchmark. Arrays are (num_rows,)."""

    name: str
    ids: list[str]
    texts: list[str]
    """As the router gets them. An MMLU prompt is the question with its choices; its subject is not part of it."""
    subjects: IntArray
    """Number of the subject, beside the prompt. Contenders may learn from the training rows' subjects; none but
    `subject_mean` is told those of the rows it is tried on."""
    small: FloatArray
    large: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def gained(self) -> FloatArray:
        """Quality of the strong model's answer minus that of the weak one's."""
        return self.large - self.small

    @cached_property
    def counts(self) -> FloatArray:
        """(num_rows, len(SURFACE)), of the whole prompts."""
        return np.array([surface(text) for text in self.texts])

    @cached_property
    def digest(self) -> str:
        """Of the prompts as the encoder reads them."""
        return hashlib.sha256(json.dumps([clip(text) for text in self.texts]).encode()).hexdigest()

    def rows(self, *, grouped: bool = False) -> list[GainRow]:
        """As the pre-router's training takes them; `grouped`: a subject's rows are held out together."""
        groups = [f"{number}" if grouped else None for number in self.subjects]
        return [
            GainRow(text=text, small_right=small, large_right=large, group=group)
            for text, small, large, group in zip(self.texts, self.small, self.large, groups, strict=True)
        ]

    def apgr(self, score: FloatArray, rows: IntArray | slice = slice(None)) -> float:
        """Of those rows; the strong model is better on all of these benchmarks and their samples."""
        found = curve(score, self.small[rows], self.large[rows]).apgr
        assert found is not None
        return found


def read(folder: Path, name: str) -> Outcomes:
    """`mmlu`, `gsm8k` or `mt_bench` (its quality is the mean judge score of two turns, its prompt the first turn)."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return Outcomes(
        name,
        [row["id"] for row in rows],
        [row["prompt"] for row in rows],
        np.unique([row["subject"] for row in rows], return_inverse=True)[1],
        np.array([_quality(row, "weak") for row in rows]),
        np.array([_quality(row, "strong") for row in rows]),
    )


def published(folder: Path) -> list[dict[str, Any]]:
    """The paper's rows: benchmark, training_data, router, cpt50, cpt80, apgr."""
    rows: list[dict[str, Any]] = json.loads((folder / "published.json").read_text(encoding="utf-8"))["rows"]
    return rows


def _quality(row: dict[str, Any], model: str) -> float:
    return float(np.mean(row[f"{model}_scores"])) if f"{model}_scores" in row else float(row[f"{model}_correct"])
