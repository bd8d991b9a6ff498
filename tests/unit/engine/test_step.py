"""A plan as tensors: every token knows its place, its slot and its adapter."""

import pytest
import torch

from serve_app.engine.request import Plan
from serve_app.engine.step import Run, Span, Step
from tests.unit.engine.conftest import segment

CPU = torch.device("cpu")
BASE = segment(4, 0, [1, 2], sampled=0)
DRAFTED = segment(0, 9, [3, 4, 5], sampled=3, adapter_slot=2)
SAME_ADAPTER = segment(3, 1, [6], sampled=1, adapter_slot=2)
OTHER_ADAPTER = segment(1, 5, [7, 8], sampled=1, adapter_slot=0)
PLAN = Plan((BASE, DRAFTED, SAME_ADAPTER, OTHER_ADAPTER))


def test_every_token_has_its_id_its_position_and_its_slot():
    step = Step(PLAN, CPU)
    assert step.num_tokens == 8
    assert step.ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert step.positions.tolist() == [0, 1, 9, 10, 11, 1, 5, 6]
    assert step.slots.tolist() == [4, 4, 0, 0, 0, 3, 1, 1]
    assert step.spans == (Span(0, 2, 4, 0), Span(2, 5, 0, 9), Span(5, 6, 3, 1), Span(6, 8, 1, 5))


def test_tokens_whose_logits_are_wanted_are_the_last_of_each_segment():
    step = Step(PLAN, CPU)
    assert step.sampled.tolist() == [2, 3, 4, 5, 7] and not step.all_sampled


@pytest.mark.parametrize(("segments", "sampled"), [((BASE,), []), ((DRAFTED, SAME_ADAPTER), [0, 1, 2, 3])])
def test_step_may_want_the_logits_of_no_token_or_of_all(segments, sampled):
    step = Step(Plan(segments), CPU)
    assert step.sampled.tolist() == sampled and step.all_sampled == bool(sampled)


def test_neighbours_of_one_adapter_are_one_run_and_the_base_is_in_none():
    assert Step(PLAN, CPU).runs == (Run(2, 2, 6), Run(0, 6, 8))
    assert Step(Plan((BASE,)), CPU).runs == ()


def test_adapters_that_are_no_neighbours_are_several_runs():
    step = Step(Plan((DRAFTED, BASE, SAME_ADAPTER)), CPU)
    assert step.runs == (Run(2, 0, 3), Run(2, 5, 6))
