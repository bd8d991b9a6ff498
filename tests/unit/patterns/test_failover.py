"""A call that fails before anything was sent is made again, or made elsewhere; afterwards it is the client's error."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import (
    BudgetExceeded,
    Call,
    DeadlineExceeded,
    Delta,
    EngineError,
    EngineInfo,
    HeadraceError,
    Message,
    Overloaded,
    PromptTooLong,
    Query,
    ReplicaLost,
    RequestError,
    RouteScore,
    SamplingParams,
    TokenStat,
    Usage,
)
from serve_app.patterns import Cascade, Node, Patience, Single, Trace, WhenFailed
from tests.properties import examples

QUERY = Query("q1", "auto", SamplingParams(), (Message("user", "hi"),), created_at_s=1.0)
LOST = ReplicaLost("specialists lost the replica that was answering; try again.")


@dataclass
class Scripted:
    """An engine whose calls each end as told: the words before it, and the error, or None for a whole answer."""

    ends: Sequence[tuple[int, HeadraceError | None]]
    """The last holds for all calls after it."""
    words: Sequence[str] = ("a", "b", "c", "d", "e")
    logprob: float = -0.01
    calls: list[Call] = field(default_factory=list)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        num_words, error = self.ends[min(len(self.calls), len(self.ends) - 1)]
        self.calls.append(call)
        for index, word in enumerate(self.words):
            if error is not None and index == num_words:
                raise error
            last = index == len(self.words) - 1
            stat = TokenStat(0, word, self.logprob, 0.1, 1.0)
            yield Delta(word, (stat,), "stop" if last else None, Usage(7, 0, index + 1), "v1")
        if error is not None:
            raise error

    async def info(self) -> EngineInfo:
        return EngineInfo("scripted", 2048)


WHOLE = (0, None)


def single(engine, retries=2):
    return Single(Node("specialists", "small", engine, retries))


def cascade(small, large, guard=None, when_failed=None, **fields):
    rule = ThresholdRule(CascadeSettings(**{"threshold": 0.5, "prefix_tokens": 3, **fields}))
    nodes = Node("specialists", "small", small), Node("fallback", "large", large)
    return Cascade(*nodes, rule, guard=guard, when_failed=when_failed)


async def answered(answerer, streamed=True, route=None):
    """What was sent, the error at its end, the account."""
    trace, texts, error = Trace(QUERY), [], None
    trace.streamed, trace.route = streamed, route
    try:
        async with aclosing(answerer.answer(QUERY, trace, None, 0)) as deltas:
            async for delta in deltas:
                texts.append(delta.text)
    except HeadraceError as raised:
        trace.failed, error = True, raised
    return "".join(texts), error, trace


async def test_a_lost_call_is_made_again_and_both_are_billed():
    engine = Scripted([(0, LOST), WHOLE])
    text, error, trace = await answered(single(engine))
    account = trace.answer()
    assert (text, error, account.outcome, trace.retried) == ("abcde", None, "accepted", ["specialists"])
    assert [(one.outcome, one.usage.completion_tokens) for one in account.attempts] == [("failed", 0), ("accepted", 5)]
    assert len({call.call_id for call in engine.calls}) == 2


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_no_call_is_made_again_more_often_than_set(retries):
    engine = Scripted([(0, LOST)])
    text, error, trace = await answered(single(engine, retries))
    assert (text, error, len(engine.calls), len(trace.retried)) == ("", LOST, retries + 1, retries)
    assert [one.outcome for one in trace.answer().attempts] == ["failed"] * (retries + 1)


async def test_what_the_client_has_seen_is_not_begun_again():
    engine = Scripted([(2, LOST), WHOLE])
    text, error, trace = await answered(single(engine))
    assert (text, error, len(engine.calls), trace.answer().outcome) == ("ab", LOST, 1, "failed")


async def test_an_answer_that_is_sent_whole_is_begun_again_however_far_it_was():
    text, error, trace = await answered(single(Scripted([(4, LOST), WHOLE])), streamed=False)
    assert (text, error) == ("abcde", None)
    assert [one.usage.completion_tokens for one in trace.answer().attempts] == [4, 5]


async def test_a_replica_that_dies_after_the_last_delta_has_said_all():
    text, error, trace = await answered(single(Scripted([(5, LOST)])))
    assert (text, error, trace.answer().outcome) == ("abcde", None, "accepted")


async def test_an_error_of_the_engine_is_not_asked_for_again():
    text, error, trace = await answered(single(Scripted([(0, EngineError("It ran out of memory."))])))
    assert (text, type(error), len(trace.answer().attempts)) == ("", EngineError, 1)


async def test_a_query_whose_time_is_up_is_not_asked_again(monkeypatch):
    engine, trace = Scripted([(0, LOST)]), Trace(QUERY)
    monkeypatch.setattr(Trace, "is_late", property(lambda self: True))
    with pytest.raises(ReplicaLost):
        _ = [delta async for delta in single(engine).answer(QUERY, trace, None, 0)]
    assert len(engine.calls) == 1


@pytest.mark.parametrize("decide", ["prefix", "full"])
async def test_a_lost_draft_is_judged_from_its_start(decide):
    seen = []

    class Rule(ThresholdRule):
        def judge(self, evidence, adapter_version):
            seen.append(len(evidence.tokens))
            return super().judge(evidence, adapter_version)

    small = Scripted([(2, LOST), WHOLE])
    pattern = cascade(small, Scripted([WHOLE]), decide=decide)
    pattern.rule = Rule(CascadeSettings(threshold=0.5, prefix_tokens=3, decide=decide))
    text, error, trace = await answered(pattern)
    assert (text, error, seen) == ("abcde", None, [3] if decide == "prefix" else [5])
    assert [one.outcome for one in trace.answer().attempts] == ["failed", "accepted"]


FULL = Overloaded("Too many queries wait for fallback; try again in 1 s.")


async def test_a_whole_draft_is_given_where_the_large_model_fails():
    small = Scripted([WHOLE], logprob=-3.0)
    text, error, trace = await answered(cascade(small, Scripted([(0, FULL)]), decide="full"))
    account = trace.answer()
    assert (text, error, account.outcome, account.escalated, len(small.calls)) == ("abcde", None, "accepted", False, 1)
    assert account.reason.endswith("; the large model failed: Too many queries wait for fallback; try again in 1 s")
    assert [(one.node, one.outcome) for one in account.attempts] == [
        ("specialists", "accepted"),
        ("fallback", "failed"),
    ]
    assert [one.cause for one in trace.degradations] == ["large_failed"]


async def test_a_draft_that_ended_with_its_first_checkpoint_is_billed_whole_where_it_is_given(playback):
    small = playback(list("abcde"), [-3.0] * 5, groups=[5])
    text, error, trace = await answered(cascade(small, Scripted([(0, FULL)])))
    [draft, _] = trace.answer().attempts
    assert (text, error, draft.outcome, draft.usage.completion_tokens) == ("abcde", None, "accepted", 5)


async def test_a_draft_that_was_broken_off_is_begun_anew_where_the_large_model_fails():
    small = Scripted([WHOLE], logprob=-3.0)
    text, error, trace = await answered(cascade(small, Scripted([(0, FULL)])))
    account = trace.answer()
    assert (text, error, account.outcome, account.escalated, account.model) == (
        "abcde", None, "accepted", False, "small",
    )  # fmt: skip
    assert [(one.outcome, one.usage.completion_tokens) for one in account.attempts] == [
        ("escalated", 3),
        ("failed", 0),
        ("accepted", 5),
    ]


async def test_a_query_that_skipped_the_small_model_gets_it_where_the_large_one_fails():
    route = RouteScore("legal", 0.9, {"legal": 0.9}, gain=0.9)
    pattern = cascade(Scripted([WHOLE]), Scripted([(0, FULL)]), skip_small_above=0.5)
    text, error, trace = await answered(pattern, route=route)
    account = trace.answer()
    assert (text, error, account.escalated) == ("abcde", None, False)
    assert account.reason.startswith("gain of the large model 0.900 > 0.5: no small attempt; the large model failed")


@pytest.mark.parametrize("error", [DeadlineExceeded("Its time is up."), RequestError("seed is wrong", "seed")])
async def test_time_and_mistakes_are_no_reason_to_ask_the_other_model(error):
    small = Scripted([WHOLE], logprob=-3.0)
    text, raised, trace = await answered(cascade(small, Scripted([(0, error)]), decide="full"))
    assert (text, raised, trace.degradations) == ("", error, [])
    text, raised, trace = await answered(cascade(Scripted([(0, error)]), Scripted([WHOLE])))
    assert (text, raised, trace.degradations) == ("", error, [])


async def test_a_large_answer_that_has_begun_is_not_replaced():
    text, error, _ = await answered(cascade(Scripted([WHOLE], logprob=-3.0), Scripted([(2, LOST)], words="vwxyz")))
    assert (text, error) == ("vw", LOST)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("It ran out of memory."),
        Overloaded("Too many queries wait for specialists; try again in 1 s."),
        PromptTooLong("The prompt has 9 tokens and the context holds 8.", "messages"),
        LOST,
    ],
)
async def test_the_large_model_answers_where_the_small_one_does_not(error):
    pattern = cascade(Scripted([(1, error)]), Scripted([WHOLE], words="large"))
    text, raised, trace = await answered(pattern)
    account = trace.answer()
    assert (text, raised, account.outcome, account.escalated) == ("large", None, "accepted", True)
    assert account.reason == f"the small model failed: {str(error).rstrip('.')}"


async def test_the_error_of_the_large_model_is_raised_where_both_fail():
    small, large = Scripted([(0, EngineError("small"))]), Scripted([(0, EngineError("large"))])
    text, error, trace = await answered(cascade(small, large))
    assert (text, str(error), len(small.calls), len(large.calls)) == ("", "large", 1, 1)
    assert trace.answer().outcome == "failed"


@pytest.mark.parametrize(("allows", "expected"), [(False, EngineError), (None, BudgetExceeded)])
async def test_the_large_model_stands_in_within_the_budget_only(allows, expected):
    class Purse:
        async def may_escalate(self, query):
            if allows is None:
                raise BudgetExceeded("The budget of key ada for this day is spent.", 60)
            return allows

    large = Scripted([WHOLE])
    _, error, _ = await answered(cascade(Scripted([(0, EngineError("small"))]), large, Purse()))
    assert (type(error), large.calls) == (expected, [])


async def test_each_can_be_switched_off():
    never = WhenFailed("fail", "fail")
    _, error, _ = await answered(cascade(Scripted([(0, FULL)]), Scripted([WHOLE]), when_failed=never))
    assert error is FULL
    unsure = Scripted([WHOLE], logprob=-3.0)
    _, error, _ = await answered(cascade(unsure, Scripted([(0, FULL)]), when_failed=never, decide="full"))
    assert error is FULL


@pytest.mark.parametrize("priority", [0, -1])
async def test_a_model_that_does_not_begin_in_time_has_failed_but_for_those_that_wait_anyway(priority):
    class Slow(Scripted):
        async def generate(self, call):
            self.calls.append(call)
            await slow.wait()
            yield Delta("slow", (), "stop")

    slow, small, large = asyncio.Event(), Slow([WHOLE]), Scripted([WHOLE], words="large")
    nodes = Node("specialists", "small", small, patience=Patience(first_token_s=0.01)), Node("fallback", "large", large)
    pattern = Cascade(*nodes, ThresholdRule(CascadeSettings(threshold=0.0)))
    trace = Trace(replace(QUERY, tier="flex" if priority < 0 else "default"))
    asyncio.get_running_loop().call_later(0.05, slow.set)
    text = "".join([delta.text async for delta in pattern.answer(trace.query, trace, None, 0)])
    if priority < 0:
        assert text == "slow"
    else:
        assert text == "large"
        assert [one.outcome for one in trace.answer().attempts] == ["failed", "accepted"]
        assert "said nothing within 0.01 s" in trace.answer().reason


class Silent(Scripted):
    """Says two words and no more."""

    async def generate(self, call):
        async for delta in super().generate(call):
            if delta.usage.completion_tokens == 3 and len(self.calls) == 1:
                await asyncio.Event().wait()
            yield delta


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_replica_that_falls_silent_is_lost(streamed):
    engine = Silent([WHOLE])
    node = Node("specialists", "small", engine, patience=Patience(silence_s=0.01))
    text, error, trace = await answered(Single(node), streamed)
    if streamed:
        assert (text, type(error), len(engine.calls)) == ("ab", ReplicaLost, 1)
        assert "said nothing more for 0.01 s" in str(error)
    else:
        assert (text, error, trace.retried) == ("abcde", None, ["specialists"])


ERRORS = st.sampled_from([LOST, FULL, EngineError("It broke."), DeadlineExceeded("Its time is up."), None])
ENDS = st.lists(st.tuples(st.integers(0, 5), ERRORS), min_size=1, max_size=4)


@settings(max_examples=examples(300), deadline=None)
@given(small=ENDS, large=ENDS, sure=st.booleans(), decide=st.sampled_from(["prefix", "full"]), streamed=st.booleans())
def test_whatever_fails_one_answer_at_most_is_sent_and_every_call_is_billed_once(small, large, sure, decide, streamed):
    one = Scripted(small, "abcde", -0.01 if sure else -3.0)
    other = Scripted(large, "vwxyz")
    text, error, trace = asyncio.run(answered(cascade(one, other, decide=decide), streamed))
    account = trace.answer()
    if error is None:
        assert text in ("abcde", "vwxyz")
        assert account.outcome == "accepted"
        assert account.model == ("small" if text == "abcde" else "large")
    else:
        assert "abcde".startswith(text) or "vwxyz".startswith(text)
        assert not text or streamed
        assert account.outcome == ("timed_out" if isinstance(error, DeadlineExceeded) else "failed")
    assert len(account.attempts) == len(one.calls) + len(other.calls)
    assert sum(attempt.outcome == "accepted" for attempt in account.attempts) == (error is None)
    assert len(account.attempts) <= 2 * 3 + 3
    assert all(attempt.outcome != "cancelled" for attempt in account.attempts)
