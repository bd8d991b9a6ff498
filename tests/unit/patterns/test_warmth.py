"""A large model without a replica: small answers are kept or queries wait, and nothing asks it that would start it."""

import pytest

from serve_app.core import Call, EngineError, Group, RetryLater, SamplingParams
from serve_app.engines.fake import FakeEngine
from serve_app.patterns.warmth import Starting, Waking, WakingEngine

CALL = Call("c", SamplingParams(), prompt="hi")


class SetWarmth:
    def __init__(self, left_s):
        self.left_s = left_s

    def remaining_s(self):
        return self.left_s


@pytest.mark.parametrize("policy", ["accept_small", "wait", "wait_if_soon"])
def test_a_warm_model_is_escalated_to(policy):
    withheld = []
    waking = Waking(SetWarmth(None), policy, 10, lambda: withheld.append(1))
    assert (waking.is_cold, waking.escalation_withheld(), withheld) == (False, None, [])


@pytest.mark.parametrize(
    ("policy", "left_s", "why"),
    [
        ("accept_small", 41.3, "the large model is starting, 42 s to go"),
        ("accept_small", 0, "the large model is starting, 1 s to go"),
        ("wait", 41.3, None),
        ("wait_if_soon", 10, None),
        ("wait_if_soon", 10.1, "the large model is starting, 11 s to go"),
    ],
)
def test_a_cold_one_is_waited_for_or_not_and_every_small_answer_is_told(policy, left_s, why):
    withheld = []
    waking = Waking(SetWarmth(left_s), policy, 10, lambda: withheld.append(1))
    assert waking.is_cold
    assert waking.escalation_withheld() == why
    assert len(withheld) == (why is not None)


async def test_whoever_asks_for_the_large_model_itself_is_told_when_to_come_back():
    engine = FakeEngine()
    with pytest.raises(Starting, match="try again in 42 s") as refused:
        await anext(WakingEngine(engine, Waking(SetWarmth(41.3), "accept_small", 10)).generate(CALL))
    assert isinstance(refused.value, EngineError)
    assert isinstance(refused.value, RetryLater)
    assert (refused.value.retry_after_s, engine.calls) == (42, [])
    with pytest.raises(Starting, match="try again in 42 s"):
        await anext(WakingEngine(engine, Waking(SetWarmth(41.3), "accept_small", 10)).generate_group(Group((CALL,))))
    assert not engine.calls


async def test_calls_that_wait_go_to_the_engine():
    engine = WakingEngine(FakeEngine(), Waking(SetWarmth(5), "wait_if_soon", 10))
    assert "".join([one.text async for one in engine.generate(CALL)]) == "a scripted answer"
    said = [one async for one in engine.generate_group(Group((CALL, CALL)))]
    assert sum(one.is_last for one in said) == 2


async def test_a_cold_engine_is_not_asked_for_its_state_under_any_policy():
    warmth = SetWarmth(5)
    engine = WakingEngine(FakeEngine(), Waking(warmth, "wait", 10))
    with pytest.raises(EngineError, match="no replica now"):
        await engine.info()
    warmth.left_s = None
    assert (await engine.info()).model == "fake"
