"""Margins: early where the early look tells, never where it does not."""

import numpy as np

from serve_app.confidence.stages import Margins
from serve_app.training.cascade.margins import pick_margins


def drafts(spread, num_rows=400):
    """Early probabilities that differ from those at the end by `spread` in log-odds."""
    random = np.random.default_rng(0)
    late = random.normal(2, 2, num_rows)
    early = late + random.normal(0, spread, num_rows)
    return 1 / (1 + np.exp(-np.stack([early, late], axis=1)))


def test_an_early_look_that_knows_all_decides_at_once():
    assert pick_margins(drafts(0.0), np.full(400, 50), (16,), 0.05) == (Margins(0.0, 0.0),)


def test_a_weak_early_look_needs_a_margin():
    (found,) = pick_margins(drafts(1.0), np.full(400, 50), (16,), 0.05)
    assert found.accept is None or found.accept > 0


def test_an_early_look_that_knows_nothing_accepts_nothing():
    random = np.random.default_rng(1)
    probabilities = np.stack([np.full(400, 0.8), 1 / (1 + np.exp(-random.normal(2, 2, 400)))], axis=1)
    (found,) = pick_margins(probabilities, np.full(400, 50), (16,), 0.05)
    assert found.accept is None or found.accept >= 1.0


def test_where_nothing_can_be_accepted_nothing_is_decided_early():
    assert pick_margins(np.full((50, 2), 0.3), np.full(50, 40), (16,), 0.05) == (Margins(None, None),)


def test_without_checkpoints_there_are_no_margins():
    assert pick_margins(drafts(0.0)[:, 1:], np.full(400, 50), (), 0.05) == ()
