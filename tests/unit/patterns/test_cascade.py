"""The cascade decides on the same tokens, says the same text and bills the same draft however deltas are grouped."""

import asyncio
import math
from contextlib import aclosing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import EngineError, Message, Query, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Cascade, Node, Trace, WhenFailed
from tests.properties import examples

QUERY = Query("q1", "auto", SamplingParams(), (Message("user", "hi"),), created_at_s=1.0)


def cascade(small, large, **fields):
    settings = CascadeSettings(**{"threshold": 0.5, "prefix_tokens": 3, **fields})
    when_failed = WhenFailed(settings.when_small_fails, settings.when_large_fails)
    nodes = Node("specialists", "small", small), Node("fallback", "large", large)
    return Cascade(*nodes, ThresholdRule(settings), when_failed=when_failed)


async def answered(pattern, query=QUERY):
    trace, texts = Trace(query), []
    async for delta in pattern.answer(query, trace, None, 0):
        texts.append(delta.text)
    return "".join(texts), trace.answer()


ANSWERS = st.lists(st.tuples(st.text(max_size=3), st.floats(-3.0, 0.0, allow_subnormal=False)), min_size=0, max_size=12)
GROUPS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answer=ANSWERS,
    groups=GROUPS,
    decide=st.sampled_from(["prefix", "full"]),
    signal=st.sampled_from(["mean_probability", "min_probability", "quantile10_probability"]),
    bare_end=st.booleans(),
)
def test_grouping_of_tokens_changes_neither_text_nor_decision_nor_bill(
    playback, answer, groups, decide, signal, bare_end
):
    words, logprobs = [word for word, _ in answer], [logprob for _, logprob in answer]

    async def run(grouping):
        small = playback(words, logprobs, grouping, bare_end)
        return await answered(cascade(small, playback(["large"], [0.0]), decide=decide, signal=signal))

    async def both():
        return await run([1]), await run(groups)

    (text, account), (other_text, other) = asyncio.run(both())
    assert text == other_text == ("large" if account.escalated else "".join(words))
    assert (account.reason, account.confidence, account.escalated) == (other.reason, other.confidence, other.escalated)
    for attempt, twin in zip(account.attempts, other.attempts, strict=True):
        assert (attempt.outcome, attempt.model) == (twin.outcome, twin.model)
        assert attempt.usage.completion_tokens == twin.usage.completion_tokens
        assert attempt.usage.prompt_tokens == twin.usage.prompt_tokens


async def test_nothing_is_sent_before_the_decision_and_nothing_is_retracted_after():
    order = []

    class Watched(FakeEngine):
        async def generate(self, call):
            async for delta in super().generate(call):
                order.append("token")
                yield delta

    pattern = cascade(Watched(default="a b c d e"), FakeEngine())
    async for _ in pattern.answer(QUERY, Trace(QUERY), None, 0):
        order.append("sent")
    assert order[:3] == ["token"] * 3
    assert order.count("sent") == 5


async def test_with_decide_full_the_whole_answer_is_held_back():
    small = FakeEngine(default=FakeAnswer("a b c d e f", logprob=[-0.01] * 5 + [-9.0]))
    text, account = await answered(cascade(small, FakeEngine(default="large"), decide="full"))
    assert text == "large"
    assert account.attempts[0].usage.completion_tokens == 6
    assert "over 6 tokens" in account.reason


async def test_a_rejected_draft_frees_its_row_before_the_large_model_starts(playback):
    closed_at_start = []
    small = playback(["a"] * 50, [-5.0] * 50)

    class Large(FakeEngine):
        async def generate(self, call):
            closed_at_start.append(small.num_closed)
            async for delta in super().generate(call):
                yield delta

    await answered(cascade(small, Large()))
    assert closed_at_start == [1]


async def test_the_large_model_sees_the_conversation_and_no_adapter():
    small = FakeEngine(default=FakeAnswer("a b c d", logprob=-5.0), adapters={"legal": "v1"})
    large = FakeEngine()
    pattern = cascade(small, large)
    async for _ in pattern.answer(QUERY, Trace(QUERY), "legal", 0):
        pass
    assert small.calls[0].adapter == "legal"
    assert (large.calls[0].adapter, large.calls[0].messages) == (None, QUERY.messages)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
async def test_thresholds_at_the_ends_accept_all_and_escalate_nearly_all(threshold):
    _, account = await answered(cascade(FakeEngine(), FakeEngine(), threshold=threshold))
    assert account.escalated is (threshold == 1.0)


async def test_an_empty_small_answer_has_confidence_zero_and_escalates():
    text, account = await answered(cascade(FakeEngine(default=""), FakeEngine(default="large")))
    assert (text, account.confidence, account.attempts[0].usage.completion_tokens) == ("large", 0.0, 0)


async def test_a_query_keeps_the_rule_that_it_began_with():
    pattern = cascade(FakeEngine(default=FakeAnswer("a b c d", logprob=-0.1)), FakeEngine())
    trace = Trace(QUERY)
    async with aclosing(pattern.answer(QUERY, trace, None, 0)) as deltas:
        start = asyncio.ensure_future(anext(deltas))
        await asyncio.sleep(0)
        pattern.rule = ThresholdRule(CascadeSettings(threshold=1.0))
        assert (await start).text == "a"


async def test_closing_while_tokens_are_held_back_closes_the_engine_and_bills_them(playback):
    small = FakeEngine(default="a b c d e f", token_s=0.01)
    trace = Trace(QUERY)
    deltas = cascade(small, FakeEngine(), decide="full").answer(QUERY, trace, None, 0)
    task = asyncio.ensure_future(anext(deltas))
    await asyncio.sleep(0.035)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    account = trace.answer()
    assert small.cancelled == ["q1:specialists:0"]
    assert account.outcome == account.attempts[0].outcome == "cancelled"
    assert 1 <= account.attempts[0].usage.completion_tokens < 6


@pytest.mark.parametrize("fail_after", [0, 1, 3, 4])
async def test_a_small_model_that_fails_is_a_failed_attempt(fail_after):
    trace = Trace(QUERY)
    small = FakeEngine(default=FakeAnswer("a b c d e", fail_after=fail_after))
    pattern = cascade(small, FakeEngine(), when_small_fails="fail")
    with pytest.raises(EngineError):
        async for _ in pattern.answer(QUERY, trace, None, 0):
            pass
    account = trace.answer()
    assert (account.outcome, account.attempts[0].outcome) == ("failed", "failed")
    assert account.attempts[0].usage.completion_tokens == fail_after


async def test_a_large_model_that_fails_leaves_the_draft_escalated():
    trace = Trace(QUERY)
    pattern = cascade(
        FakeEngine(default=FakeAnswer("a b c d", logprob=-5)), FakeEngine(default=FakeAnswer("x y", fail_after=1))
    )
    with pytest.raises(EngineError):
        async for _ in pattern.answer(QUERY, trace, None, 0):
            pass
    assert [attempt.outcome for attempt in trace.answer().attempts] == ["escalated", "failed"]


async def test_a_route_has_its_own_threshold():
    from serve_app.core import RouteScore

    answer = FakeAnswer("a b c d", logprob=math.log(0.7))
    pattern = cascade(FakeEngine(default=answer), FakeEngine(), route_thresholds={"legal": 0.9})
    for label, escalated in (("legal", True), ("code", False)):
        trace = Trace(QUERY)
        trace.route = RouteScore(label, 0.9, {label: 0.9})
        async for _ in pattern.answer(QUERY, trace, None, 0):
            pass
        assert trace.answer().escalated is escalated


@pytest.mark.parametrize("decide", ["prefix", "full"])
async def test_a_draft_without_token_statistics_is_escalated_and_billed_in_full(decide):
    class Silent(FakeEngine):
        async def generate(self, call):
            async for delta in super().generate(call):
                yield replace(delta, tokens=())

    small = Silent(default="five words of an answer")
    _, account = await answered(cascade(small, FakeEngine(), decide=decide))
    assert [one.outcome for one in account.attempts] == ["escalated", "accepted"]
    assert account.attempts[0].usage.completion_tokens == 5
