"""The account of a query, at any moment of its life."""

import itertools

import pytest

from serve_app.core import Call, Delta, EngineError, RouteScore, SamplingParams, Usage
from serve_app.patterns import Trace


def begin(trace, choice_index=0, outcome=None, node="specialists", adapter=None):
    attempt = trace.begin(node, "model-of-" + node, Call("c", SamplingParams(), adapter=adapter), choice_index)
    if outcome:
        attempt.settle(outcome)
    return attempt


def test_an_attempt_that_nobody_settled_was_cancelled(query):
    trace = Trace(query)
    begin(trace)
    account = trace.answer()
    assert (account.outcome, account.attempts[0].outcome) == ("cancelled", "cancelled")
    assert account.model is None


def test_the_first_outcome_counts(query):
    trace = Trace(query)
    attempt = begin(trace, outcome="escalated")
    attempt.settle("failed")
    assert trace.answer().attempts[0].outcome == "escalated"


@pytest.mark.parametrize(
    ("choices", "outcome"),
    [
        ([], "cancelled"),
        ([["accepted"]], "accepted"),
        ([["escalated", "accepted"]], "accepted"),
        ([["escalated"]], "cancelled"),
        ([["accepted"], ["accepted"]], "accepted"),
        ([["accepted"], ["cancelled"]], "cancelled"),
        ([["accepted"], ["escalated"]], "cancelled"),
        ([["accepted"], ["escalated", "failed"]], "failed"),
        ([["cancelled"], ["failed"]], "failed"),
    ],
)
def test_a_query_is_accepted_only_where_every_choice_was(query, choices, outcome):
    trace = Trace(query)
    for index, outcomes in enumerate(choices):
        for one in outcomes:
            begin(trace, index, one)
    assert trace.answer().outcome == outcome


def test_a_reported_failure_makes_the_query_failed_whatever_its_attempts_say(query):
    trace = Trace(query)
    begin(trace, outcome="accepted")
    trace.failed = True
    assert trace.answer().outcome == "failed"


def test_the_account_names_the_attempt_that_answered(query):
    trace = Trace(query)
    trace.route = RouteScore("legal", 0.8, {"legal": 0.8})
    draft = begin(trace, outcome="escalated", adapter="legal")
    draft.confidence = 0.2
    begin(trace, outcome="accepted", node="fallback")
    account = trace.answer()
    assert (account.model, account.adapter, account.escalated) == ("model-of-fallback", None, True)
    assert (account.route, account.route_probability, account.confidence) == ("legal", 0.8, 0.2)
    assert (account.query_id, account.requested_model, account.created_at_s) == ("q1", "auto", 1.0)


def test_only_the_first_text_sets_the_time_to_first_token(query, monkeypatch):
    clock = itertools.count(100.0)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    trace = Trace(query)
    trace.first_token()
    trace.first_token()
    assert trace.answer().first_token_ms == 1000.0


async def test_the_bill_is_current_while_the_stream_runs_and_closes_with_it(query, playback):
    trace, engine = Trace(query), playback(["a", "b", "c"], [0.0] * 3)
    attempt = begin(trace)
    stream = attempt.stream(engine)
    for expected in (1, 2):
        await anext(stream)
        assert trace.answer().attempts[0].usage.completion_tokens == expected
    await stream.aclose()
    first, second = trace.answer().attempts[0], trace.answer().attempts[0]
    assert engine.num_closed == 1
    assert first.ms == second.ms
    assert first.adapter_version == "v1"


async def test_an_engine_that_raises_when_called_is_a_failed_attempt(query):
    class Refusing:
        def generate(self, call):
            raise ConnectionError("no such replica")

    trace = Trace(query)
    with pytest.raises(ConnectionError):
        _ = [delta async for delta in begin(trace).stream(Refusing())]
    assert trace.answer().attempts[0].outcome == "failed"


async def test_a_draft_is_billed_for_the_judged_tokens_only(query):
    class Fast:
        async def generate(self, call):
            yield Delta("abc", finish_reason="length", usage=Usage(7, 2, 30, 0.5))

    trace = Trace(query)
    attempt = begin(trace)
    async for _ in attempt.stream(Fast()):
        attempt.bill_only(3)
    assert trace.answer().attempts[0].usage == Usage(7, 2, 3, 0.5)


def test_reason_and_confidence_are_of_one_attempt_whichever_choice_was_judged_last(query):
    trace = Trace(query)
    first, second = begin(trace, 0), begin(trace, 1)
    second.confidence, second.reason = 0.9, "sure"
    first.confidence, first.reason = 0.2, "unsure"
    account = trace.answer()
    assert (account.confidence, account.reason) == (0.2, "unsure")


async def test_an_attempt_that_breaks_off_without_a_reason_failed(query, playback):
    class Broken(playback):
        async def generate(self, call):
            yield Delta("half", usage=Usage(7, 0, 1))

    trace = Trace(query)
    with pytest.raises(EngineError, match="broke off"):
        async for _ in begin(trace).stream(Broken([], [])):
            pass
    assert (trace.answer().attempts[0].outcome, trace.answer().attempts[0].usage.completion_tokens) == ("failed", 1)
