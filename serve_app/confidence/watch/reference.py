"""What a signal looked like when the policy was fitted: its percentiles, kept in the policy file."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydantic import Field, field_validator

from serve_app.confidence.stored import Stored
from serve_app.core import DataError

NUM_QUANTILES = 101
"""Percentiles 0, 1, … 100."""

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Reference(Stored):
    """The distribution of one signal in the fitting data, to a resolution of 1 %. Values may be tied."""

    num_values: int = Field(ge=1, description="How many values it was made from.")
    quantiles: tuple[float, ...] = Field(
        min_length=NUM_QUANTILES,
        max_length=NUM_QUANTILES,
        description="Percentiles 0 to 100 in order: the smallest value that this share of the values does not exceed.",
    )

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if any(low > high for low, high in pairwise(quantiles)):
            raise ValueError("the quantiles must ascend")
        return quantiles

    def share_up_to(self, values: FloatArray) -> FloatArray:
        """P(reference <= value) for each value; same shape."""
        position = np.searchsorted(self.quantiles, values, side="right") - 1
        return np.maximum(position, 0) / (NUM_QUANTILES - 1)

    def share_below(self, values: FloatArray) -> FloatArray:
        """P(reference < value) for each value; same shape."""
        position = np.searchsorted(self.quantiles, values, side="left")
        return np.minimum(position, NUM_QUANTILES - 1) / (NUM_QUANTILES - 1)


def reference_of(values: Sequence[float] | FloatArray) -> Reference:
    """The reference of a signal. Raises DataError when there is no value, or one that is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise DataError("A signal without values has no reference; fit the policy on more rows.")
    if not np.isfinite(array).all():
        raise DataError("A signal has a value that is not finite, so it has no reference; mend the fitting data.")
    levels = np.linspace(0, 1, NUM_QUANTILES)
    quantiles = np.quantile(array, levels, method="inverted_cdf")  # values that occurred: ties stay ties
    return Reference(num_values=array.size, quantiles=tuple(quantiles.tolist()))
