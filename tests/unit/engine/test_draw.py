import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.engine.draw import alternatives, draw
from tests.properties import examples

ALMOST_ONE = math.nextafter(1.0, 0.0)


@settings(deadline=None, max_examples=examples(100))
@given(
    st.integers(1, 300),
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, ALMOST_ONE]),
    st.sampled_from([0.2, 1.0, 1e300]),
    st.sampled_from([(0.0, 1.0), (0.0, 0.4), (0.6, 1.0)]),
)
def test_a_draw_inverts_the_cumulative_distribution_and_is_possible(vocab, seed, uniform, temperature, possible):
    logits = torch.randn(1, vocab, generator=torch.Generator().manual_seed(seed)) * 4
    share = torch.arange(vocab) / vocab
    logits[0, (share < possible[0]) | (share > possible[1])] = -math.inf
    if logits.isinf().all():
        return
    (drawn,) = draw(logits, [temperature], [1.0], [uniform]).tolist()
    assert logits[0, drawn] > -math.inf
    cumulative = torch.softmax(logits[0].double() / min(temperature, 1e30), -1).cumsum(-1).tolist()
    assert (cumulative[drawn - 1] if drawn else 0.0) - 1e-6 <= uniform * cumulative[-1] <= cumulative[drawn] + 1e-6


def test_the_last_possible_token_is_the_last_drawn():
    logits = torch.randn(2000, 96, generator=torch.Generator().manual_seed(0))
    logits[:, 80:] = -math.inf
    assert draw(logits, [1.0] * 2000, [1.0] * 2000, [ALMOST_ONE] * 2000).max() == 79


@pytest.mark.parametrize("vocab", [500, 5_000, 50_000])
def test_a_nucleus_of_any_size_is_exact(vocab):
    logits = torch.arange(vocab)[None] * -1e-6
    first, last = (draw(logits, [1.0], [0.9], [uniform]).item() for uniform in (0.0, ALMOST_ONE))
    probabilities = torch.softmax(logits[0].double(), -1)
    assert first == 0
    assert last == pytest.approx(int((probabilities.cumsum(-1) < 0.9).sum()), abs=vocab // 500)


def test_rows_of_every_kind_share_a_batch():
    logits = torch.zeros(4, 3000)
    logits[1, 7] = 50.0
    ids = draw(logits, [1.0, 0.5, 1.0, 2.0], [1.0, 0.5, 0.9, 1.0], [0.5, 0.99, ALMOST_ONE, 0.999]).tolist()
    assert ids[0] == 1500 and ids[1] == 7 and ids[3] == 2997


def test_alternatives_are_led_by_the_best_id_also_among_equals():
    logits = torch.tensor([[1.0, 2.0, 2.0, 2.0], [4.0, 3.0, 2.0, 1.0]])
    tied, plain = alternatives(logits, [1, 0], [1, 3])
    assert tied == [(1, 2.0)] and plain == [(0, 4.0), (1, 3.0), (2, 2.0)]
