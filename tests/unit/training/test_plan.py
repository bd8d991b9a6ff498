import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.training.options import TrainingError, TrainOptions
from serve_app.training.plan import Example, micro_batches, plan_steps

examples = st.lists(st.integers(2, 60), min_size=1, max_size=40).map(
    lambda lengths: [Example((row,) * length, 1) for row, length in enumerate(lengths)]
)


@given(examples, st.integers(1, 9))
def test_one_epoch_holds_every_row_exactly_once(rows, rows_per_step):
    steps = plan_steps(rows, TrainOptions(rows_per_step=rows_per_step))
    assert sorted(example.token_ids for step in steps for example in step) == sorted(row.token_ids for row in rows)
    assert all(len(step) <= rows_per_step for step in steps)


@given(examples, st.integers(1, 3000))
def test_a_token_budget_is_reached_and_passed_by_less_than_one_step(rows, budget):
    steps = plan_steps(rows, TrainOptions(token_budget=budget, rows_per_step=4))
    tokens = [sum(len(example.token_ids) for example in step) for step in steps]
    assert sum(tokens[:-1]) < budget <= sum(tokens)


@given(examples, st.integers(1, 200))
def test_micro_batches_hold_every_row_and_respect_the_limit(rows, limit):
    batches = micro_batches(rows, limit)
    assert sorted(one.token_ids for batch in batches for one in batch) == sorted(one.token_ids for one in rows)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(one.token_ids) for one in batch) <= limit


def test_the_order_is_fixed_by_the_seed():
    rows = [Example((row,) * (row % 7 + 2), 1) for row in range(30)]
    first = plan_steps(rows, TrainOptions(seed=1, epochs=2))
    assert first == plan_steps(rows, TrainOptions(seed=1, epochs=2))
    assert first != plan_steps(rows, TrainOptions(seed=2, epochs=2))


@pytest.mark.parametrize(
    "options",
    [{"rank": 0}, {"learning_rate": -1.0}, {"epochs": 0}, {"token_budget": 0}, {"target_modules": ()}],
)
def test_options_without_meaning_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(TrainingError, match=name):
        TrainOptions(**options)
