"""Who is held out when: random folds show the mix as it is, source folds show texts of an unseen origin."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from serve_app.router.classifier import FloatArray, Model
from serve_app.training.router.data import IntArray, TrainingSet


def random_folds(labels: IntArray, num_folds: int, seed: int) -> IntArray:
    """Fold of each row, (num_rows,), each label spread evenly; every label needs `num_folds` rows."""
    from sklearn.model_selection import StratifiedKFold

    found = np.full(len(labels), -1)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels)):
        found[held_out] = fold
    return found


def source_folds(labels: IntArray, sources: Sequence[str | None], num_folds: int) -> IntArray:
    """Fold of each row such that a source of a label is held out whole; -1: never held out.

    A label's sources are dealt to the folds, largest first. Rows without a source, and labels of a single source, are
    never held out.

    >>> source_folds(np.array([0, 0, 0, 1, 1]), ["a", "a", "b", "c", None], 2).tolist()
    [0, 0, 1, -1, -1]
    """
    rows_of = Counter(zip(labels.tolist(), sources, strict=True))
    sources_of: defaultdict[int, list[str]] = defaultdict(list)
    for (label, source), _ in sorted(rows_of.items(), key=lambda item: (-item[1], str(item[0]))):
        if source is not None:
            sources_of[label].append(source)
    fold_of: dict[tuple[int, str | None], int] = {
        (label, source): order % num_folds
        for label, found in sources_of.items()
        if len(found) > 1
        for order, source in enumerate(found)
    }
    return np.array([fold_of.get(key, -1) for key in zip(labels.tolist(), sources, strict=True)], dtype=np.intp)


def out_of_fold(
    data: TrainingSet,
    folds: IntArray,
    fit: Callable[[TrainingSet], Model],
    on_fold: Callable[[], object],
) -> FloatArray:
    """Uncalibrated probabilities of each row from a fit without its fold, (num_rows, num_labels); NaN at fold -1."""
    found = np.full((len(data), len(data.names)), np.nan, dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        if held_out.any():
            found[held_out] = predict(fit(data.where(~held_out)), data.where(held_out))
        on_fold()
    return found


def predict(model: Model, data: TrainingSet) -> FloatArray:
    """Uncalibrated probabilities by the code that serves, (num_rows, num_labels)."""
    return np.stack([model.probabilities(text, vector) for text, vector in zip(data.texts, data.vectors, strict=True)])
