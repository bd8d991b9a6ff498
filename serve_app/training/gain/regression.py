"""Ridge regression of large_right - small_right on three views of a query: vector, counts, curved counts.

Regressing the difference ranked queries better than classifying "large right and small wrong" did, and better than two
models subtracted (docs/routing.md): a query that the small model alone gets right counts against the large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.confidence.gain import Arrays, curved, standardised
from serve_app.confidence.model import FloatArray
from serve_app.confidence.surface import SURFACE, surface

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.intp]]

NUM_WAVES = 256
STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Of the ridge, rising; which one is used, held-out folds decide: `strongest_of_the_best`."""
_VECTOR_SHARE = 1.2
"""Weight of the vector beside the counts, whose standardised squares sum to about 1."""
_LEAST_SCALE = 1e-6


@dataclass(frozen=True, eq=False)
class Views:
    """What the regression reads of each row."""

    vectors: FloatArray
    """(num_rows, D)"""
    counts: FloatArray
    """(num_rows, len(SURFACE))"""

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: IntArray) -> Views:
        """Those rows, in that order."""
        return Views(self.vectors[rows], self.counts[rows])


@dataclass(frozen=True, eq=False)
class Fit:
    """The score before calibration."""

    arrays: Arrays
    intercept: float

    def scores(self, rows: Views) -> FloatArray:
        """(len(rows),), estimates of large_right - small_right."""
        parts = self.arrays
        standard = standardised(rows.counts, parts.surface_mean, parts.surface_scale)
        waves = curved(standard, parts.waves, parts.phases)
        found: FloatArray = (
            rows.vectors @ parts.vector_weights + standard @ parts.surface_weights + waves @ parts.wave_weights
        )
        return found + self.intercept


def views(texts: Sequence[str], vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Views:
    """Of texts as the router reads them (router/text.py) and the encoder's vectors of the same."""
    return Views(vectors.astype(np.float64), np.array([surface(text) for text in texts]))


def fit(rows: Views, gained: FloatArray, strengths: Sequence[float], seed: int) -> list[Fit]:
    """One fit for each strength; `gained` (len(rows),). The waves are drawn from the seed."""
    mean = rows.counts.mean(axis=0)
    scale = rows.counts.std(axis=0)
    scale = np.where(scale > _LEAST_SCALE, scale, 1.0)
    waves, phases = _waves(seed)
    standard = standardised(rows.counts, mean, scale)
    weights = (_VECTOR_SHARE, 1 / np.sqrt(len(SURFACE)), np.sqrt(2 / NUM_WAVES))
    blocks = (rows.vectors, standard, curved(standard, waves, phases))
    design = np.hstack([block * weight for block, weight in zip(blocks, weights, strict=True)])
    middle, base = design.mean(axis=0), float(gained.mean())
    found = []
    for solution in _solve(design - middle, gained - base, strengths):
        of_vector, of_counts, of_waves = np.split(solution, np.cumsum([block.shape[1] for block in blocks])[:-1])
        arrays = Arrays(
            vector_weights=of_vector * weights[0],
            surface_mean=mean,
            surface_scale=scale,
            surface_weights=of_counts * weights[1],
            waves=waves,
            phases=phases,
            wave_weights=of_waves * weights[2],
        )
        found.append(Fit(arrays, base - float(middle @ solution)))
    return found


def strongest_of_the_best(errors: FloatArray) -> int:
    """Which row of `errors`, (num_strengths, num_rows) squared ones on held-out rows by rising strength, to use.

    The strongest whose mean is within one standard error of the least (Breiman et al. 1984): as good as the least on
    queries like the training ones, and steadier on others. The standard error is that of the paired difference.

    >>> strongest_of_the_best(np.array([[1.0, 0.0, 1.0, 0.0], [0.9, 0.2, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0]]))
    1
    """
    excess = errors - errors[errors.mean(axis=1).argmin()]
    allowed = excess.mean(axis=1) <= excess.std(axis=1) / np.sqrt(errors.shape[1])
    return int(np.flatnonzero(allowed)[-1])


def _solve(design: FloatArray, target: FloatArray, strengths: Sequence[float]) -> list[FloatArray]:
    """Ridge solutions from one decomposition: of the rows' products where there are fewer rows than columns."""
    wide = len(design) < design.shape[1]
    values, directions = np.linalg.eigh(design @ design.T if wide else design.T @ design)
    turned = directions.T @ (target if wide else design.T @ target)
    found = [directions @ (turned / (values + strength)) for strength in strengths]
    return [design.T @ duals for duals in found] if wide else found


def _waves(seed: int) -> tuple[FloatArray, FloatArray]:
    """Directions and phases of random Fourier features for the kernel exp(-|x - y|^2 / len(SURFACE))."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((len(SURFACE), NUM_WAVES)) * np.sqrt(2 / len(SURFACE))
    phases = random.uniform(0, 2 * np.pi, NUM_WAVES)
    return directions.astype(np.float32).astype(np.float64), phases.astype(np.float32).astype(np.float64)
