"""The staged rule is one family: nested in its threshold, and one number a draft says all."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.confidence import stages
from serve_app.confidence.stages import Margins, deciding_stage, lowered, raised, staged_confidence

PROBABILITIES = st.floats(1e-6, 1 - 1e-6)
MARGIN = st.none() | st.floats(0, 5)
MARGINS = st.lists(st.builds(Margins, MARGIN, MARGIN), max_size=3)


def one_by_one(row, margins, threshold):
    """The rule in words of the module's docstring: (accepted, deciding column)."""
    for column, margin in enumerate(margins):
        if np.isnan(row[column]):
            continue
        if lowered(row[column], margin.accept) > threshold:
            return True, column
        if not raised(row[column], margin.escalate) > threshold:
            return False, column
    return bool(row[-1] > threshold), len(margins)


@st.composite
def drafts(draw):
    """Probabilities of some drafts; a draft that ended before a checkpoint did not pass later ones either."""
    margins = draw(MARGINS)
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        passed = draw(st.integers(0, len(margins)))
        values = [draw(PROBABILITIES) for _ in range(passed)] + [np.nan] * (len(margins) - passed)
        rows.append([*values, draw(PROBABILITIES)])
    return np.array(rows), margins


@settings(deadline=None)
@given(drafts(), st.floats(0, 1))
def test_the_staged_confidence_says_what_the_rule_decides_at_every_threshold(found, threshold):
    rows, margins = found
    walked = [one_by_one(row, margins, threshold) for row in rows]
    assert (staged_confidence(rows, margins) > threshold).tolist() == [accepted for accepted, _ in walked]
    assert deciding_stage(rows, margins, threshold).tolist() == [column for _, column in walked]


@settings(deadline=None)
@given(drafts(), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_threshold_accepts_nothing_new(found, one, other):
    rows, margins = found
    for row in rows:
        strict, _ = one_by_one(row, margins, max(one, other))
        loose, _ = one_by_one(row, margins, min(one, other))
        assert loose or not strict


@settings(deadline=None)
@given(drafts())
def test_threshold_zero_accepts_all_and_one_none(found):
    rows, margins = found
    if all(margin.escalate is None or margin.escalate >= 0 for margin in margins):
        confidence = staged_confidence(rows, margins)
        assert (confidence > 0).all()
        assert not (confidence > 1).any()


@pytest.mark.parametrize(
    ("margin", "confidence"), [(Margins(0.0, None), 0.9), (Margins(None, 0.0), 0.4), (Margins(None, None), 0.4)]
)
def test_a_margin_of_none_never_decides(margin, confidence):
    assert staged_confidence(np.array([[0.9, 0.4]]), [margin])[0] == pytest.approx(confidence)


def test_worked_values_hold():
    assert doctest.testmod(stages).failed == 0
