"""The acceptance model as it is served: P(the small answer is acceptable | features). Plain numbers, numpy only.

A logistic model on standardised features, then a calibration of its log-odds. It is calibrated for traffic like the
labelled rows it was fitted on, and for no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from serve_app.confidence.features import FEATURES
from serve_app.confidence.stored import Stored
from serve_app.core import ConfigError

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

_MOST_LOG_ODDS = 15.0
"""Beyond this, probabilities would run into 1.0 and lose their order."""


class Platt(Stored):
    """Straightens log-odds with a line (Platt 1999); a rising one, so that the order of answers stays."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(gt=0)
    offset: float

    def probability(self, log_odds: FloatArray) -> FloatArray:
        """Same shape, in (0, 1)."""
        return sigmoid(self.slope * log_odds + self.offset)


class Isotonic(Stored):
    """A rising curve through knots (Zadrozny and Elkan 2002), straight between them, level beyond the outer two."""

    kind: Literal["isotonic"] = "isotonic"
    log_odds: tuple[float, ...] = Field(min_length=2)
    probabilities: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.log_odds) != len(self.probabilities):
            raise ValueError("log_odds and probabilities differ in length")
        if min(np.diff(self.log_odds)) <= 0 or min(np.diff(self.probabilities)) < 0:
            raise ValueError("knots must rise")
        return self

    def probability(self, log_odds: FloatArray) -> FloatArray:
        """Same shape, in (0, 1)."""
        return np.interp(log_odds, self.log_odds, self.probabilities)


@dataclass(frozen=True, slots=True, eq=False)
class _Arrays:
    """A model's numbers for numpy. Has no equality of its own, so that models are compared by their fields."""

    columns: np.ndarray[Any, np.dtype[np.intp]]
    """Into FEATURES."""
    mean: FloatArray
    scale: FloatArray
    coefficients: FloatArray


class AcceptanceModel(Stored):
    """One stage of one route and adapter version.

    Making one raises ConfigError where it uses a feature that this version does not compute.
    """

    features: tuple[str, ...]
    """Names out of FEATURES, in the order of the three lists below; none: a constant."""
    mean: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    coefficients: tuple[float, ...]
    intercept: float
    calibration: Platt | Isotonic = Field(discriminator="kind")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not len(self.features) == len(self.mean) == len(self.scale) == len(self.coefficients):
            raise ValueError("features, mean, scale and coefficients differ in length")
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown:
            raise ConfigError(f"The policy uses unknown features ({', '.join(unknown)}): fit it with this version.")
        return self

    @cached_property
    def _arrays(self) -> _Arrays:
        columns = np.array([FEATURES.index(name) for name in self.features], dtype=np.intp)
        return _Arrays(columns, np.array(self.mean), np.array(self.scale), np.array(self.coefficients))

    def log_odds(self, features: FloatArray) -> FloatArray:
        """Before calibration; `features` (..., len(FEATURES)) to (...).

        A sum over the last axis and no matrix product: a row gets the same bits alone as among others.
        """
        used = self._arrays
        weighted = (features[..., used.columns] - used.mean) / used.scale * used.coefficients
        total: FloatArray = np.ascontiguousarray(weighted).sum(axis=-1) + self.intercept
        return total

    def probability(self, features: FloatArray) -> FloatArray:
        """That the answer is acceptable, in (0, 1); `features` (..., len(FEATURES)) to (...), as `log_odds`."""
        return self.calibration.probability(self.log_odds(features))


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """The probability of log-odds, cut at 15 on both sides.

    >>> round(float(sigmoid(np.array(0.0))), 3)
    0.5
    """
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)))


def logit(probability: FloatArray) -> FloatArray:
    """The log-odds of a probability, cut at 15 on both sides.

    >>> round(float(logit(np.array(0.9))), 3), float(logit(np.array(1.0)))
    (2.197, 15.0)
    """
    with np.errstate(divide="ignore"):
        found: FloatArray = np.clip(
            np.log(probability) - np.log1p(-np.asarray(probability)), -_MOST_LOG_ODDS, _MOST_LOG_ODDS
        )
    return found
