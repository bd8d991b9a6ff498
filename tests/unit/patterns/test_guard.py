"""An escalation for which there is no budget, or no replica yet, keeps the small answer; nobody audits it."""

import pytest

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import BudgetExceeded, Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Cascade, Node, Trace
from serve_app.patterns.warmth import Waking

QUERY = Query("q1", "auto", SamplingParams(), (Message("user", "hi"),), created_at_s=1.0)


class Purse:
    """A guard that counts what it is asked for."""

    def __init__(self, allows=False, refuses=False):
        self.allows, self.refuses, self.num_asked = allows, refuses, 0

    async def may_escalate(self, query):
        self.num_asked += 1
        if self.refuses:
            raise BudgetExceeded("The budget of key ada for this day is spent.", 60)
        return self.allows


class Audience:
    """An observer that keeps the accepted decisions."""

    def __init__(self):
        self.accepted_decisions = []

    def decided(self, evidence, attempt, decision):
        pass

    def accepted(self, decision, query, trace, text, choice_index):
        self.accepted_decisions.append(decision)


class SetWarmth:
    def __init__(self, left_s):
        self.left_s = left_s

    def remaining_s(self):
        return self.left_s


def unsure(decide, purse, audience=None, waking=None, **fields):
    rule = ThresholdRule(CascadeSettings(threshold=0.5, prefix_tokens=3, decide=decide, **fields))
    small = FakeEngine(default=FakeAnswer("I am not sure about that at all", logprob=-3.0))
    large = FakeEngine(default="the large model says this")
    return Cascade(
        Node("specialists", "small", small), Node("fallback", "large", large, waking=waking), rule, audience, purse
    )


async def answered(cascade, route=None):
    trace, texts = Trace(QUERY), []
    trace.route = route
    async for delta in cascade.answer(QUERY, trace, None, 0):
        texts.append(delta.text)
    return "".join(texts), trace.answer()


@pytest.mark.parametrize("decide", ["prefix", "full"])
async def test_without_budget_the_small_answer_is_kept_whole_and_counts_as_uncovered(decide):
    audience = Audience()
    text, account = await answered(unsure(decide, Purse(), audience))
    assert text == "I am not sure about that at all"
    assert (account.outcome, account.escalated, len(account.attempts)) == ("accepted", False, 1)
    assert account.reason.endswith("; no budget to escalate")
    assert account.attempts[0].usage.completion_tokens == len(text.split())
    assert [decision.basis for decision in audience.accepted_decisions] == ["uncovered"]


@pytest.mark.parametrize("decide", ["prefix", "full"])
async def test_with_budget_it_escalates(decide):
    purse = Purse(allows=True)
    text, account = await answered(unsure(decide, purse))
    assert (text, account.escalated, purse.num_asked) == ("the large model says this", True, 1)


async def test_a_refused_escalation_ends_the_query_and_bills_the_draft():
    cascade = unsure("prefix", Purse(refuses=True))
    trace = Trace(QUERY)
    with pytest.raises(BudgetExceeded, match="key ada"):
        [delta async for delta in cascade.answer(QUERY, trace, None, 0)]
    (draft,) = trace.answer().attempts
    assert (draft.outcome, draft.usage.completion_tokens >= 3) == ("cancelled", True)


async def test_what_the_pre_router_sends_to_the_large_model_is_asked_for_too():
    cascade = unsure("prefix", Purse(), skip_small_above=0.5)
    text, account = await answered(cascade, RouteScore("legal", 0.9, {"legal": 0.9}, gain=0.9))
    assert (text, account.escalated) == ("I am not sure about that at all", False)


async def test_nobody_asks_for_an_answer_that_is_accepted():
    purse = Purse()
    cascade = unsure("prefix", purse, route_thresholds={"legal": 0.0})
    _, account = await answered(cascade, RouteScore("legal", 0.9, {"legal": 0.9}))
    assert (account.escalated, purse.num_asked) == (False, 0)


@pytest.mark.parametrize("decide", ["prefix", "full"])
async def test_while_the_large_model_starts_the_small_answer_is_kept_and_no_budget_is_asked_for(decide):
    audience, purse, withheld = Audience(), Purse(allows=True), []
    waking = Waking(SetWarmth(41.5), "accept_small", 10, lambda: withheld.append(1))
    text, account = await answered(unsure(decide, purse, audience, waking))
    assert text == "I am not sure about that at all"
    assert (account.outcome, account.escalated, len(account.attempts)) == ("accepted", False, 1)
    assert account.reason.endswith("; the large model is starting, 42 s to go")
    assert [decision.basis for decision in audience.accepted_decisions] == ["uncovered"]
    assert (purse.num_asked, withheld) == (0, [1])


async def test_what_the_pre_router_sends_to_a_cold_large_model_is_answered_by_the_small_one():
    waking = Waking(SetWarmth(41.5), "wait_if_soon", 10)
    cascade = unsure("prefix", Purse(allows=True), waking=waking, skip_small_above=0.5)
    text, account = await answered(cascade, RouteScore("legal", 0.9, {"legal": 0.9}, gain=0.9))
    assert (text, account.escalated) == ("I am not sure about that at all", False)


async def test_a_start_that_is_nearly_over_is_waited_for():
    waking = Waking(SetWarmth(5), "wait_if_soon", 10)
    text, account = await answered(unsure("prefix", Purse(allows=True), waking=waking))
    assert (text, account.escalated) == ("the large model says this", True)
