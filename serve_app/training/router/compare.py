"""Several classifiers trained on the same rows and tried on the same others, for one table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.core import DataError
from serve_app.router.artifact import num_bytes, write
from serve_app.router.domain import FALLBACK_LABEL, DomainRouter, TextEncoder
from serve_app.router.metrics import wilson
from serve_app.router.rows import Row
from serve_app.training.router.classifiers import named
from serve_app.training.router.data import Progress, TrainingSet, encoded, silent
from serve_app.training.router.train import Abstention, check, train_on

_TIMED_TEXTS = 300
_WARM_UP = 5


@dataclass(frozen=True)
class Share:
    """So many of so many rows, with the 95 % interval (Wilson)."""

    num: int
    of: int

    @property
    def value(self) -> float:
        """Between 0 and 1."""
        return self.num / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Of the value."""
        return wilson(self.num, self.of)

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        low, high = self.interval
        return (high - low) / 2

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "interval_95": list(self.interval), "rows": self.of}


@dataclass(frozen=True)
class Compared:
    """One line of the table. Rows of no known label count as the fallback's."""

    classifier: str
    accuracy: Share
    """Of all rows, as the router answers: best label, or the fallback below the floor."""
    in_scope: Share
    """Of the rows of known labels, with no floor."""
    out_of_scope_recall: Share | None
    """Of the fallback's rows, how many got the fallback; None where there are none."""
    false_rejection: Share
    """Of the rows of known labels, how many got the fallback; the floor was set for a stated share on held-out rows."""
    floor: float
    p50_ms: float
    """One text after another through encoder and classifier, nothing cached, one thread."""
    p99_ms: float
    num_bytes: int
    """On disk, without the encoder."""
    training_s: float
    """Validation and fit, without encoding."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.as_dict() if isinstance(value, Share) else value for name, value in values.items()}


def compare(
    train_rows: Sequence[Row],
    test_rows: Sequence[Row],
    encoder: TextEncoder,
    classifiers: Sequence[str],
    false_rejection: float,
    fallback: str,
    seed: int,
    on_progress: Progress,
) -> list[Compared]:
    """Each classifier trained on `train_rows` with the floor for `false_rejection`, tried on `test_rows`.

    Rows of the label `fallback`, and test rows of labels that training lacks, are out of scope. Texts are encoded once
    for training; the test texts once per classifier, which is what is timed. Raises as `train` does.
    """
    train_rows = [_renamed(row, fallback) for row in train_rows]
    check(train_rows)
    labels = {row.label for row in train_rows}
    test_rows = [_renamed(row, fallback) for row in test_rows]
    test_rows = [row if row.label in labels else replace(row, label=FALLBACK_LABEL) for row in test_rows]
    if all(row.label == FALLBACK_LABEL for row in test_rows):
        raise DataError("No test row has a label that training knows: give a test file of the same labels.")
    data = encoded(train_rows, encoder, on_progress)
    names = list(dict.fromkeys(named(name, train_rows) for name in classifiers))
    found = []
    for done, name in enumerate(names):
        on_progress("compare", done, len(names))
        found.append(_compared(name, data, test_rows, encoder, false_rejection, seed))
    on_progress("compare", len(names), len(names))
    return found


def _renamed(row: Row, fallback: str) -> Row:
    return replace(row, label=FALLBACK_LABEL) if row.label == fallback else row


def _compared(
    name: str, data: TrainingSet, rows: Sequence[Row], encoder: TextEncoder, false_rejection: float, seed: int
) -> Compared:
    started_s = time.perf_counter()
    trained = train_on(data, encoder, name, seed, Abstention(false_rejection=false_rejection), silent)
    training_s = time.perf_counter() - started_s
    router = DomainRouter(trained.artifact, encoder)
    scores = router.score_texts([row.text for row in rows])
    p50_ms, p99_ms = _latency_ms(router, [row.text for row in rows[:_TIMED_TEXTS]])
    router.close()
    truth = np.array([row.label for row in rows])
    given = np.array([score.label for score in scores])
    best = np.array([max(score.probabilities, key=score.probabilities.__getitem__) for score in scores])
    known = truth != FALLBACK_LABEL
    with tempfile.TemporaryDirectory() as folder:
        write(trained.artifact, Path(folder))
        size = num_bytes(Path(folder))
    return Compared(
        name,
        _share(given == truth),
        _share((best == truth)[known]),
        _share((given == FALLBACK_LABEL)[~known]) if not known.all() else None,
        _share((given == FALLBACK_LABEL)[known]),
        trained.artifact.floor,
        p50_ms,
        p99_ms,
        size,
        training_s,
    )


def _share(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Share:
    return Share(int(hits.sum()), len(hits))


def _latency_ms(router: DomainRouter, texts: Sequence[str]) -> tuple[float, float]:
    """Median and 99th percentile."""
    router.score_texts(texts[:_WARM_UP])
    took_ms = []
    for text in texts:
        started_s = time.perf_counter()
        router.score_texts([text])
        took_ms.append((time.perf_counter() - started_s) * 1e3)
    p50_ms, p99_ms = np.percentile(took_ms, [50, 99])
    return float(p50_ms), float(p99_ms)
