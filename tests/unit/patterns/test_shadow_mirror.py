"""The mirror says what the cascade would have done, while clients get the large model's answers."""

import asyncio

import pytest

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import EngineError, Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Cascade, Node, Single, Trace
from serve_app.patterns.answerers import SPARE_PRIORITY
from serve_app.patterns.shadow import Mirror, Mirrored, Shadows, in_background

QUERY = Query("q1", "auto", SamplingParams(), (Message("user", "hi"),), key_id="team", created_at_s=1.0)
ROUTE = RouteScore("legal", 0.9, {"legal": 0.9}, gain=0.6)


class Setting:
    def __init__(self, small=None, large=None, share=1.0, score=0.8, **fields):
        self.small = small or FakeEngine(default="the small answer", adapters={"legal": "v1"})
        self.large = large or FakeEngine(default="the large answer")
        self.shadows, self.reports, self.compared, self._score = Shadows(4, 60), [], [], score
        fallback = Node("fallback", "large", self.large)
        rule = ThresholdRule(CascadeSettings(**{"threshold": 0.5, "prefix_tokens": 1, **fields}))
        cascade = Cascade(in_background(Node("specialists", "small", self.small)), fallback, rule)
        self.mirror = Mirror(share, self.shadows, cascade, self.score, self.reports.append)
        self.pattern = Mirrored(Single(fallback), self.mirror)

    async def score(self, question, small, large):
        self.compared.append((question, small, large))
        return self._score

    async def answered(self, choice_index=0):
        trace = Trace(QUERY)
        trace.route = ROUTE
        deltas = self.pattern.answer(QUERY, trace, "legal", choice_index)
        text = "".join([delta.text async for delta in deltas])
        return text, trace.answer()

    async def report(self):
        async with asyncio.timeout(10):
            while self.shadows.num_running:  # noqa: ASYNC110 - the count has no event
                await asyncio.sleep(0)
        (report,) = self.reports
        return report


async def test_the_client_gets_the_large_answer_and_pays_for_nothing_else():
    setting = Setting()
    text, account = await setting.answered()
    assert text == "the large answer"
    assert [attempt.node for attempt in account.attempts] == ["fallback"]
    assert (account.outcome, setting.small.calls) == ("accepted", [])
    assert setting.large.calls[0].adapter is None
    await setting.report()


async def test_what_would_be_accepted_is_compared_with_what_the_client_got():
    setting = Setting()
    await setting.answered()
    report = await setting.report()
    account, (attempt,) = report.account, report.account.attempts
    assert (report.kind, report.would_accept, report.score) == ("mirror", True, 0.8)
    assert setting.compared == [("hi", "the small answer", "the large answer")]
    assert (account.query_id, account.requested_model, account.outcome) == ("q1-mirror", "mirror", "shadow")
    assert account.reason == "would accept: mean_probability 0.951 >= 0.5 over 1 tokens; score 0.800"
    assert account.confidence == pytest.approx(0.951, abs=1e-3)
    assert (account.key_id, account.route, account.adapter, account.escalated) == (None, "legal", None, False)
    assert (attempt.outcome, attempt.adapter, attempt.usage.completion_tokens) == ("shadow", "legal", 3)
    assert setting.small.calls[0].priority == SPARE_PRIORITY


async def test_what_would_be_escalated_costs_what_was_judged_and_is_not_compared():
    setting = Setting(FakeEngine(default=FakeAnswer("a b c", logprob=-5), adapters={"legal": "v1"}))
    await setting.answered()
    report = await setting.report()
    assert (report.would_accept, report.score, setting.compared) == (False, None, [])
    assert report.account.reason == "would escalate: mean_probability 0.007 < 0.5 over 1 tokens"
    assert not report.account.escalated
    assert report.account.attempts[0].outcome == "shadow"
    assert report.account.attempts[0].usage.completion_tokens == 1


async def test_a_query_that_the_cascade_would_not_even_try_is_recorded_without_cost():
    setting = Setting(skip_small_above=0.5)
    await setting.answered()
    report = await setting.report()
    assert (report.would_accept, report.account.attempts, report.account.outcome) == (False, (), "shadow")
    assert report.account.reason.startswith("would escalate: gain of the large model 0.600")


async def test_a_query_that_the_cascade_would_never_escalate_is_compared_too():
    setting = Setting(keep_small_below=0.7)
    await setting.answered()
    report = await setting.report()
    assert (report.would_accept, report.score) == (True, 0.8)
    assert report.account.attempts[0].outcome == "shadow"


async def test_a_small_model_that_fails_says_nothing_of_the_rule(caplog):
    setting = Setting(FakeEngine(default=FakeAnswer("a b c", fail_after=1), adapters={"legal": "v1"}))
    await setting.answered()
    report = await setting.report()
    assert (report.would_accept, report.account.attempts[0].outcome) == (None, "failed")
    assert report.account.reason.startswith("mirror: broke off: mean_probability")
    assert setting.shadows.num_failed == 1
    assert "mirror of query q1 failed" in caplog.text


@pytest.mark.parametrize(("share", "choice_index"), [(0.0, 0), (1.0, 1)])
async def test_only_the_sample_and_only_the_first_choice_is_mirrored(share, choice_index):
    setting = Setting(share=share)
    await setting.answered(choice_index)
    assert setting.shadows.num_running == 0


async def test_a_large_model_that_fails_is_the_clients_and_is_not_mirrored():
    setting = Setting(large=FakeEngine(default=FakeAnswer("a b", fail_after=1)))
    with pytest.raises(EngineError):
        await setting.answered()
    assert setting.shadows.num_running == 0


async def test_the_node_in_the_background_still_tells_its_state():
    engine = FakeEngine(model="small")
    assert (await in_background(Node("specialists", "small", engine)).engine.info()).model == "small"
