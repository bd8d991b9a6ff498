"""One more label for a router that keeps its examples: no encoder is trained and no old text is needed.

The old examples stand in the artifact as vectors (and words), so the new ones are encoded, put beside them, and the
kernel machine is solved again. Leave-one-out predictions of all examples, before and after, tell what the new label
takes from whom. Temperature and floor stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serve_app.core import ConfigError, DataError
from serve_app.router.artifact import Artifact
from serve_app.router.classifier import Classifier, FloatArray, calibrated
from serve_app.router.domain import FALLBACK_LABEL, TextEncoder
from serve_app.router.examples import Bank, Examples
from serve_app.router.metrics import confusion, wilson
from serve_app.router.rows import Row
from serve_app.router.term_rows import TermRows
from serve_app.router.text import clip
from serve_app.router.vocabulary import terms_of
from serve_app.training.router.classifiers import CLASSIFIERS, ByExamples
from serve_app.training.router.data import Progress, label_rows, vectors_of
from serve_app.training.router.fit_examples import inverse, leave_one_out, targets, without_last

MIN_ROWS = 2


@dataclass(frozen=True)
class Extended:
    """The longer artifact, and what the new label changed among the examples, each judged by a fit without it."""

    artifact: Artifact
    before: dict[str, dict[str, int]]
    """True label -> label given -> examples, by the old router."""
    after: dict[str, dict[str, int]]
    """The same by the new one, the new label's examples included."""
    new_right_95: tuple[float, float]
    """Of the share of new examples that get the new label: the 95 % interval."""


def add_label(
    artifact: Artifact, name: str, rows: Sequence[Row], encoder: TextEncoder, on_progress: Progress
) -> Extended:
    """The router with `name` as one more label, learnt from `rows`, which are all of it.

    Raises ConfigError where the router keeps no examples, knows the label or was trained on another encoder, DataError
    with too few rows.
    """
    old, ridge = _examples_of(artifact, encoder)
    labels = artifact.classifier.labels
    if name in labels:
        raise ConfigError(f"--label {name!r} is known to this router already: name a new one.")
    if len(rows) < MIN_ROWS:
        raise DataError(f"Label {name!r} has {len(rows)} row: give at least {MIN_ROWS}, better five to ten.")
    names = label_rows([name]) if artifact.card.get("label_names") else []
    bank = _longer(old.bank, [*rows, *names], encoder, on_progress)
    on_progress("fit", 0, 1)
    inverted = inverse(bank, old.settings, ridge)
    duals = inverted @ targets(bank.labels, len(labels) + 1, inverted.dtype)
    model = Examples(replace(bank, duals=duals.astype(np.float32)), old.settings)
    num_old = len(old.bank.labels)
    num_judged = num_old + len(rows)
    before = _given(leave_one_out(old.bank, old.settings, without_last(inverted, num_old)), artifact, labels)
    after = _given(leave_one_out(bank, old.settings, inverted)[:num_judged], artifact, (*labels, name))
    on_progress("fit", 1, 1)
    truth = [(*labels, name)[index] for index in bank.labels[:num_judged]]
    card = artifact.card | {"added": [*artifact.card.get("added", ()), {"label": name, "rows": len(rows)}]}
    return Extended(
        replace(artifact, classifier=Classifier((*labels, name), model, artifact.classifier.temperature), card=card),
        confusion(truth[:num_old], before),
        confusion(truth, after),
        wilson(sum(guess == name for guess in after[num_old:]), len(rows)),
    )


def _examples_of(artifact: Artifact, encoder: TextEncoder) -> tuple[Examples, float]:
    """The router's examples and the ridge they were solved with."""
    model = artifact.classifier.model
    classifier = artifact.card.get("classifier", "mixture")  # format 1 knew no other
    method = CLASSIFIERS.get(classifier)
    if not isinstance(model, Examples) or not isinstance(method, ByExamples):
        kept = ", ".join(name for name, method in CLASSIFIERS.items() if isinstance(method, ByExamples))
        raise ConfigError(
            f"This router ({classifier}) keeps no examples, so a label cannot be added: train again with all rows, "
            f"or with one of {kept}."
        )
    if artifact.encoder_digest != encoder.digest:
        raise ConfigError("The router was trained on another encoder: give the one it was trained on with --encoder.")
    return model, float(artifact.card["recipe"]["ridge"])


def _longer(bank: Bank, rows: Sequence[Row], encoder: TextEncoder, report: Progress) -> Bank:
    """The bank with the rows of one new label at its end, duals of 0."""
    texts = [clip(row.text) for row in rows]
    num_labels = bank.duals.shape[1] + 1
    return Bank(
        np.concatenate([bank.vectors, vectors_of(texts, encoder, report)]),
        np.concatenate([bank.labels, np.full(len(rows), num_labels - 1)]),
        np.concatenate([bank.weights, np.array([row.weight for row in rows], dtype=np.float32)]),
        np.zeros((len(bank.labels) + len(rows), num_labels), dtype=np.float32),
        None if bank.terms is None else _longer_terms(bank.terms, texts),
    )


def _longer_terms(old: TermRows, texts: Sequence[str]) -> TermRows:
    """With more rows; terms not seen before are as rare as the rarest known."""
    known = set(old.vocabulary.terms)
    unseen = tuple(dict.fromkeys(term for text in texts for term in terms_of(text) if term not in known))
    vocabulary = old.vocabulary.extended(unseen, float(old.vocabulary.rarity.max()))
    more = TermRows.of(texts, vocabulary)
    return TermRows(
        vocabulary,
        np.concatenate([old.starts, old.starts[-1] + more.starts[1:]]),
        np.concatenate([old.places, more.places]),
        np.concatenate([old.values, more.values]),
    )


def _given(probabilities: FloatArray, artifact: Artifact, labels: tuple[str, ...]) -> list[str]:
    """The label of each row, below the floor the fallback."""
    found: Any = calibrated(probabilities, artifact.classifier.temperature)
    return [
        labels[best] if top >= artifact.floor else FALLBACK_LABEL
        for best, top in zip(found.argmax(axis=1), found.max(axis=1), strict=True)
    ]
