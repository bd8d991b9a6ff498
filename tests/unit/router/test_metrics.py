"""Figures against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from serve_app.router.metrics import (
    by_source,
    expected_calibration_error,
    per_label,
    precision_at_prior,
    summary,
    wilson,
)

LABELS = ["code", "general", "legal"]


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_per_label_figures_equal_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = [list(side) for side in zip(*pairs, strict=True)]
    found = per_label(truth, predicted)
    names = sorted({*truth, *predicted})
    expected = precision_recall_fscore_support(truth, predicted, labels=names, zero_division=0)
    for index, label in enumerate(names):
        values = [found[label][name] for name in ("precision", "recall", "f1", "support")]
        assert values == pytest.approx([column[index] for column in expected])


def test_sources_count_within_their_label() -> None:
    found = by_source(["a", "b", "b"], ["a", "a", "b"], ["mmlu", "mmlu", None])
    assert found == {"a/mmlu": 1.0, "b/mmlu": 0.0}


def test_calibration_error_is_the_gap_between_stated_and_seen() -> None:
    assert expected_calibration_error([True, False], [0.9, 0.9]) == pytest.approx(0.4)
    assert expected_calibration_error([True, True], [1.0, 1.0]) == 0


def test_precision_falls_when_general_traffic_prevails() -> None:
    table = {"legal": {"legal": 9, "general": 1}, "general": {"legal": 2, "general": 98}}
    even = precision_at_prior(table, {"legal": 0.5, "general": 0.5}, ["legal"])["legal"]
    real = precision_at_prior(table, {"legal": 0.1, "general": 0.9}, ["legal"])["legal"]
    assert even == pytest.approx(0.9 / 0.92)
    assert real == pytest.approx(0.09 / 0.108)


def test_the_interval_holds_the_share_and_stays_in_bounds() -> None:
    low, high = wilson(10, 10)
    assert 0.6 < low < 1 <= high + 1e-9
    assert wilson(0, 5)[0] == pytest.approx(0, abs=1e-9)


def test_the_macro_average_is_absent_without_sources() -> None:
    assert "macro_source" not in summary(["a"], ["a"], [0.9], [None])
    assert summary(["a"], ["a"], [0.9], ["s"])["macro_source"] == 1
    assert np.isfinite(summary(["a"], ["b"], [0.5], [None])["ece"])
