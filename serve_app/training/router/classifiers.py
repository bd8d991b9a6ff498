"""The classifiers a router can be trained with, by name, and which one suits how many rows."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from serve_app.core import ConfigError
from serve_app.router.classifier import Model
from serve_app.router.examples import Examples
from serve_app.router.rows import Row
from serve_app.training.router.data import TrainingSet
from serve_app.training.router.fit_examples import MAX_ROWS, fit_bank
from serve_app.training.router.fit_linear import TERM_STRENGTH, VECTOR_STRENGTH, fit_linear, fit_terms
from serve_app.training.router.fit_network import NUM_HIDDEN, fit_network
from serve_app.training.router.recipe import Recipe

AUTO = "auto"
FEW_ROWS = 20
"""Half of the labels having no more rows than this is few-shot."""
MANY_LABELS = 20
"""With more labels than this, borders between them matter more than texts of an unseen origin."""


class TrainingMethod(Protocol):
    """How one classifier is fitted."""

    @property
    def encodes(self) -> bool:
        """Whether it needs vectors."""
        ...

    def fit(self, data: TrainingSet, seed: int) -> Model:
        """A model over `data.names`; the same data and seed give the same model."""
        ...

    def card(self) -> dict[str, Any]:
        """Its settings, for the artifact's card."""
        ...


@dataclass(frozen=True)
class ByExamples:
    """Neighbours and kernel machine over a bank, by recipe."""

    recipe: Recipe
    encodes = True

    def fit(self, data: TrainingSet, seed: int) -> Examples:
        """Deterministic; `seed` is not used."""
        return Examples(fit_bank(data, self.recipe.shape, self.recipe.ridge), self.recipe.shape)

    def card(self) -> dict[str, Any]:
        """The recipe."""
        return asdict(self.recipe)


class ByRegression:
    """Logistic regression on vectors."""

    encodes = True

    def fit(self, data: TrainingSet, seed: int) -> Model:
        """Deterministic; `seed` is not used."""
        return fit_linear(data)

    def card(self) -> dict[str, Any]:
        """Inverse regularisation."""
        return {"strength": VECTOR_STRENGTH}


class ByTerms:
    """Logistic regression on TF-IDF terms."""

    encodes = False

    def fit(self, data: TrainingSet, seed: int) -> Model:
        """Deterministic; `seed` is not used."""
        return fit_terms(data)

    def card(self) -> dict[str, Any]:
        """Inverse regularisation."""
        return {"strength": TERM_STRENGTH}


class ByNetwork:
    """A small neural network on vectors."""

    encodes = True

    def fit(self, data: TrainingSet, seed: int) -> Model:
        """The seed sets the first weights and the order of rows."""
        return fit_network(data, seed)

    def card(self) -> dict[str, Any]:
        """The width of the hidden layer."""
        return {"num_hidden": NUM_HIDDEN}


CLASSIFIERS: Mapping[str, TrainingMethod] = {
    "tfidf": ByTerms(),
    "linear": ByRegression(),
    "network": ByNetwork(),
    "neighbours": ByExamples(Recipe(neighbour_share=1.0)),
    "kernel": ByExamples(Recipe(neighbour_share=0.0, ridge=0.1, term_share=0.2, num_directions=0)),
    "few-shot": ByExamples(Recipe(neighbour_share=0.0, kernel_width=1.0, ridge=0.1, num_directions=0)),
    "mixture": ByExamples(Recipe()),
}
"""`kernel` was set on held-out training rows of BANKING77 and validation rows of CLINC150; `few-shot` is `kernel` with
a wider reach and each label's name as one more example (data.label_rows)."""

WITH_LABEL_NAMES = frozenset({"few-shot"})


def named(name: str, rows: Sequence[Row]) -> str:
    """`name`, or what AUTO stands for with these rows. Raises ConfigError on a name that is none.

    Few rows a label: `few-shot`. More rows than a kernel can hold: `linear`. Many labels: `kernel`. Else `mixture`.
    """
    if name == AUTO:
        counts = Counter(row.label for row in rows)
        if statistics.median(counts.values()) <= FEW_ROWS:
            return "few-shot"
        if len(rows) > MAX_ROWS:
            return "linear"
        return "kernel" if len(counts) > MANY_LABELS else "mixture"
    if name not in CLASSIFIERS:
        raise ConfigError(f"--classifier {name!r} is unknown: use {AUTO} or one of {', '.join(CLASSIFIERS)}.")
    return name
