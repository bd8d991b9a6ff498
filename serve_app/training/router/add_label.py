"""One more label for a router that keeps its examples: no encoder is trained and no old text is needed.

The old examples stand in the artifact as vectors (and words), so the new ones are encoded, put beside them, and the
kernel machine is solved again. A few new rows would drown among thousands, of which the fallback's nearest even say the
opposite: what no label claimed before was called the fallback. So the new rows weigh more, and the fallback's examples
among them are released. Temperature and floor stay. Predictions of all examples, each by a fit without it, tell what
the new label takes from whom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
from serve_app.training.router.fit_examples import Matrix, inverse, leave_one_out, targets, without

MIN_ROWS = 2
_CLAIMED = 0.25
"""Quantile of the new rows' similarities to their nearest: a fallback example nearer than this to one is released."""

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Extended:
    """The longer artifact, and what the new label changed among the examples."""

    artifact: Artifact
    before: dict[str, dict[str, int]]
    """True label -> label given -> examples, by the old router; each example is judged by a fit without it."""
    after: dict[str, dict[str, int]]
    """The same by the new one, the new label's examples included. The released ones keep their old label here."""
    new_right_95: tuple[float, float]
    """Of the share of new examples that get the new label: the 95 % interval."""
    num_released: int
    """Examples of the fallback that the new router no longer holds."""


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
        raise DataError(f"Label {name!r} has {len(rows)} row: give at least {MIN_ROWS}, better ten or more.")
    names = label_rows([name]) if artifact.card.get("label_names") else []
    bank = _longer(old.bank, [*rows, *names], encoder, on_progress)
    on_progress("fit", 0, 1)
    new = bank.labels == len(labels)
    gone = _released(bank, new, labels)
    inverted = inverse(bank, old.settings, ridge)
    held = without(inverted, gone)
    model = _solved(_kept(bank, gone), old, held)
    judged = np.arange(len(bank.labels)) < len(old.bank.labels) + len(rows)  # a label's name is no example of it
    before = leave_one_out(old.bank, old.settings, without(inverted, new))
    after = np.empty((len(bank.labels), len(labels) + 1), dtype=np.float32)
    after[~gone] = leave_one_out(model.bank, old.settings, held)
    for place in np.flatnonzero(gone):
        after[place] = model.probabilities("", bank.vectors[place])
    on_progress("fit", 1, 1)
    longer = (*labels, name)
    truth = [longer[index] for index in bank.labels[judged]]
    given = _given(after[judged], artifact, longer)
    added = {"label": name, "rows": len(rows), "released": int(gone.sum())}
    card = artifact.card | {"added": [*artifact.card.get("added", ()), added]}
    classifier = Classifier(longer, model, artifact.classifier.temperature)
    num_right = sum(true == guess == name for true, guess in zip(truth, given, strict=True))
    return Extended(
        replace(artifact, classifier=classifier, card=card),
        confusion(truth[: len(old.bank.labels)], _given(before, artifact, labels)),
        confusion(truth, given),
        wilson(num_right, len(rows)),
        int(gone.sum()),
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
    weights = _share_of(bank, len(rows)) * np.array([row.weight for row in rows])
    return replace(
        bank,
        vectors=np.concatenate([bank.vectors, vectors_of(texts, encoder, report)]),
        labels=np.concatenate([bank.labels, np.full(len(rows), num_labels - 1)]),
        weights=np.concatenate([bank.weights, weights.astype(np.float32)]),
        duals=np.zeros((len(bank.labels) + len(rows), num_labels), dtype=np.float32),
        terms=None if bank.terms is None else _longer_terms(bank.terms, texts),
    )


def _share_of(bank: Bank, num_rows: int) -> float:
    """What a new row counts: half way (in logarithms) between an old row and an equal share for its label, at least 1.

    Of weights 1, sqrt, 2 sqrt and 20 tried with 5 to 100 rows of four foreign domains on the shipped router.
    """
    totals = np.bincount(bank.labels, weights=bank.weights)
    return max(1.0, float(np.sqrt(np.median(totals) / num_rows)))


def _released(bank: Bank, new: _Mask, labels: tuple[str, ...]) -> _Mask:
    """Which examples of the fallback lie among the new ones, (num_examples,)."""
    if FALLBACK_LABEL not in labels:
        return np.zeros(len(new), dtype=np.bool_)
    among = bank.vectors[new] @ bank.vectors[new].T
    np.fill_diagonal(among, -1)
    nearest = (bank.vectors @ bank.vectors[new].T).max(axis=1)
    claimed: _Mask = nearest > np.quantile(among.max(axis=1), _CLAIMED)
    found: _Mask = claimed & (bank.labels == labels.index(FALLBACK_LABEL))
    return found


def _kept(bank: Bank, gone: _Mask) -> Bank:
    """The bank without the rows that `gone` marks."""
    kept = ~gone
    return replace(
        bank,
        vectors=bank.vectors[kept],
        labels=bank.labels[kept],
        weights=bank.weights[kept],
        duals=bank.duals[kept],
        terms=None if bank.terms is None else bank.terms.where(kept),
    )


def _solved(bank: Bank, old: Examples, inverted: Matrix) -> Examples:
    duals = inverted @ targets(bank.labels, bank.duals.shape[1], inverted.dtype)
    return Examples(replace(bank, duals=duals.astype(np.float32)), old.settings)


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
    found = calibrated(probabilities, artifact.classifier.temperature)
    return [
        labels[best] if top >= artifact.floor else FALLBACK_LABEL
        for best, top in zip(found.argmax(axis=1), found.max(axis=1), strict=True)
    ]
