"""A comparison asks the live version and the large model, behind every client, and has an account of its own."""

import asyncio

import pytest

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Cascade, Node
from serve_app.patterns.answerers import SPARE_PRIORITY
from serve_app.patterns.shadow import CanaryAnswer, CanaryShadow, Shadows

QUERY = Query("q1", "legal", SamplingParams(seed=5), (Message("user", "hi"),), key_id="team", created_at_s=1.0)
ROUTE = RouteScore("legal", 0.9, {"legal": 0.9})


class Names:
    """`AdapterVersions` of one adapter: what the query has already stays."""

    names = ("legal",)

    def tried(self, query):
        return {}

    def version(self, adapter, query, before=None):
        return before


class Setting:
    """A comparison with everything that it needs, and what it was told and said."""

    def __init__(self, live="the live answer", large="the large answer", threshold=0.5, scores=None, shadows=None):
        self.small = FakeEngine(default=live, adapters={"legal": "v1"})
        self.large = FakeEngine(default=large) if large else None
        small = Node("specialists", "small", self.small, adapters=Names())
        large_node = Node("fallback", "large", self.large) if self.large else None
        drafter = (
            Cascade(small, large_node, ThresholdRule(CascadeSettings(threshold=threshold))) if large_node else None
        )
        self.shadows = shadows or Shadows(4, 60)
        self.reports, self.compared, self.pairs, self.agreements = [], [], [], []
        self._scores = scores or {}
        self.shadow = CanaryShadow(
            self.shadows, small, large_node, drafter, self.score, self.reports.append
        )  # fmt: skip

    async def score(self, question, answer, reference):
        self.compared.append((question, answer, reference))
        return self._scores.get(answer, 1.0)

    def scored(self, canary_score, live_score):
        self.pairs.append((canary_score, live_score))

    def agreed(self, score):
        self.agreements.append(score)

    async def run(self, text="the canary's answer", judged=False, escalated=False):
        answer = CanaryAnswer(QUERY, ROUTE, "legal", "v1", text, judged, escalated)
        begun = self.shadow.answered(answer, self)
        async with asyncio.timeout(10):
            while self.shadows.num_running:  # noqa: ASYNC110 - the count has no event
                await asyncio.sleep(0)
        return begun


async def test_both_answers_are_scored_against_the_large_ones():
    setting = Setting(scores={"the canary's answer": 0.25, "the live answer": 0.75})
    assert await setting.run()
    assert setting.compared == [
        ("hi", "the canary's answer", "the large answer"),
        ("hi", "the live answer", "the large answer"),
    ]
    assert setting.pairs == [(0.25, 0.75)]
    assert setting.shadows.num_finished == 1


async def test_the_live_version_is_asked_for_by_name_and_behind_every_client():
    setting = Setting()
    await setting.run()
    (small,), (large,) = setting.small.calls, setting.large.calls
    assert (small.adapter, small.adapter_version, small.priority, small.key_id) == ("legal", "v1", SPARE_PRIORITY, None)
    assert (small.messages, small.sampling) == (QUERY.messages, QUERY.sampling)
    assert (large.adapter, large.priority) == (None, SPARE_PRIORITY)


async def test_the_account_is_of_a_shadow_and_charged_to_no_key():
    setting = Setting(scores={"the canary's answer": 0.25})
    await setting.run()
    (report,) = setting.reports
    account = report.account
    assert (report.kind, report.score, report.would_accept) == ("canary", 0.25, None)
    assert (account.query_id, account.shadow_of, account.outcome) == ("q1-canary", "q1", "shadow")
    assert (account.key_id, account.route, account.reason) == (
        None, "legal", "canary: score 0.250, the live version's 1.000",
    )  # fmt: skip
    assert [(one.node, one.role, one.outcome) for one in account.attempts] == [
        ("specialists", "shadow", "shadow"), ("fallback", "shadow", "shadow"),
    ]  # fmt: skip


async def test_what_the_rule_would_have_left_to_the_large_model_counts_as_its_answer():
    """The client of the live version would have got the large model's answer, which is right by definition."""
    setting = Setting(live=FakeAnswer("I am not sure", logprob=-3.0), scores={"the canary's answer": 0.5})
    await setting.run(judged=True)
    assert setting.pairs == [(0.5, 1.0)]
    assert [one.outcome for one in setting.reports[0].account.attempts] == ["shadow", "shadow"]


async def test_an_escalated_answer_of_the_canary_is_the_reference_itself():
    setting = Setting(scores={"the live answer": 0.5})
    await setting.run("the large words", judged=True, escalated=True)
    assert setting.pairs == [(1.0, 0.5)]
    assert setting.compared == [("hi", "the live answer", "the large words")]
    assert setting.large.calls == []


async def test_two_that_are_escalated_are_equal_and_nothing_is_asked_of_the_large_model():
    setting = Setting(live=FakeAnswer("I am not sure", logprob=-3.0))
    await setting.run(judged=True, escalated=True)
    assert (setting.pairs, setting.compared, setting.large.calls) == ([(1.0, 1.0)], [], [])


async def test_an_answer_that_nobody_judged_is_compared_with_one_that_nobody_judges():
    setting = Setting(live=FakeAnswer("I am not sure", logprob=-3.0), scores={"I am not sure": 0.125})
    await setting.run(judged=False)
    assert setting.pairs == [(1.0, 0.125)]


async def test_without_a_large_model_the_answers_are_compared_with_each_other():
    setting = Setting(large=None, scores={"the canary's answer": 0.5})
    await setting.run()
    assert setting.compared == [("hi", "the canary's answer", "the live answer")]
    assert (setting.pairs, setting.agreements) == ([], [0.5])
    assert setting.reports[0].account.reason == "canary: agreement 0.500"


@pytest.mark.parametrize("large", ["the large answer", None])
async def test_what_cannot_be_scored_is_billed_and_says_nothing(large):
    setting = Setting(large=large, scores={"the canary's answer": None})
    await setting.run()
    assert (setting.pairs, setting.agreements) == ([], [])
    assert setting.reports[0].account.reason == "canary: not scored"
    assert setting.shadows.num_finished == 1


async def test_a_live_version_that_fails_is_billed_and_counted(caplog):
    setting = Setting(live=FakeAnswer("a b c", fail_after=2))
    await setting.run()
    assert setting.reports[0].account.attempts[0].usage.completion_tokens == 2
    assert (setting.pairs, setting.shadows.num_failed) == ([], 1)
    assert "comparison of the canary's answer to q1 failed" in caplog.text


async def test_where_there_is_no_room_it_is_dropped():
    shadows = Shadows(1, 60)
    setting = Setting(shadows=shadows)
    await shadows.close()
    assert not await setting.run()
    assert (setting.reports, shadows.num_dropped) == ([], 1)
