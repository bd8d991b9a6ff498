"""Calibration of probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.classifier import calibrated, softmax


@given(st.floats(0.2, 5), st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_calibration_keeps_the_order_of_labels(temperature: float, shares: list[float]) -> None:
    raw = np.array(shares, dtype=np.float32) / np.float32(sum(shares))
    found = calibrated(raw, temperature)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[raw.argmax()] == found.max()


def test_a_softmax_of_huge_numbers_is_finite() -> None:
    assert softmax(np.array([1e4, 0.0], dtype=np.float32)).tolist() == [1, 0]
