"""An audit asks the large model again, tells the watch what came out, and has an account of its own."""

import asyncio
import doctest

import pytest

import serve_app.patterns.shadow.mirror
import serve_app.patterns.shadow.report
from serve_app.confidence import Decision, ThresholdRule
from serve_app.confidence.watch import Watch, reference_of
from serve_app.config import CascadeSettings
from serve_app.config.watch import WatchSettings
from serve_app.core import Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Cascade, Node, Trace
from serve_app.patterns.answerers import SPARE_PRIORITY
from serve_app.patterns.shadow import Auditor, Shadows

QUERY = Query("q1", "auto", SamplingParams(seed=5), (Message("user", "hi"),), key_id="team", created_at_s=1.0)
ROUTE = RouteScore("legal", 0.9, {"legal": 0.9})


class Setting:
    """An auditor with everything that it needs, and what it was told and said."""

    def __init__(self, large=None, score=1.0, share=1.0, shadows=None):
        self.large = large or FakeEngine(default="the large answer", token_s=0.0)
        references = {"legal": {"confidence": reference_of([0.5])}}
        self.watch = Watch(WatchSettings(audit_share=share), {"legal": 0.05}, references)
        self.shadows = shadows or Shadows(4, 60)
        self.reports, self.compared, self._score = [], [], score
        self.auditor = Auditor(
            self.watch, self.shadows, Node("fallback", "large", self.large), self.score, self.reports.append
        )

    async def score(self, question, small, large):
        self.compared.append((question, small, large))
        if isinstance(self._score, Exception):
            raise self._score
        return self._score

    def accepted(self, query=QUERY, route=ROUTE, text="the small answer", choice_index=0, basis="answer"):
        trace = Trace(query)
        trace.route = route
        self.auditor.accepted(Decision(True, 0.9, "", basis), query, trace, text, choice_index)

    async def ended(self):
        async with asyncio.timeout(10):
            while self.shadows.num_running:  # noqa: ASYNC110 - the count has no event
                await asyncio.sleep(0)

    def audits(self):
        report = self.watch.report()["legal"]
        return report.num_audited, report.num_wrong


@pytest.mark.parametrize("module", [serve_app.patterns.shadow.report, serve_app.patterns.shadow.mirror])
def test_the_worked_examples_are_right(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


async def test_the_answers_are_compared_and_the_watch_is_told():
    setting = Setting(score=1.0)
    setting.accepted()
    await setting.ended()
    assert setting.compared == [("hi", "the small answer", "the large answer")]
    assert setting.audits() == (1, 0)
    assert setting.shadows.num_finished == 1


@pytest.mark.parametrize(("score", "wrong"), [(0.49, 1), (0.5, 0)])
async def test_an_answer_below_the_bound_counts_as_wrong(score, wrong):
    setting = Setting(score=score)
    setting.accepted()
    await setting.ended()
    assert setting.audits() == (1, wrong)


async def test_the_account_is_of_a_shadow_and_charged_to_no_key():
    setting = Setting(score=0.75)
    setting.accepted()
    await setting.ended()
    (report,) = setting.reports
    account, (attempt,) = report.account, report.account.attempts
    assert (report.kind, report.score, report.would_accept) == ("audit", 0.75, None)
    assert (account.query_id, account.requested_model, account.outcome) == ("q1-audit", "audit", "shadow")
    assert (account.key_id, account.route, account.created_at_s) == (None, "legal", 1.0)
    assert (account.reason, account.escalated, account.model) == ("audit: score 0.750", False, None)
    assert (attempt.node, attempt.model, attempt.outcome, attempt.adapter) == ("fallback", "large", "shadow", None)
    assert (attempt.usage.prompt_tokens, attempt.usage.completion_tokens) == (1, 3)


async def test_the_large_model_sees_the_same_query_behind_every_client():
    setting = Setting()
    setting.accepted()
    await setting.ended()
    (call,) = setting.large.calls
    assert (call.messages, call.sampling, call.adapter) == (QUERY.messages, QUERY.sampling, None)
    assert (call.priority, call.key_id) == (SPARE_PRIORITY, None)
    assert SPARE_PRIORITY < 0


async def test_only_the_sample_and_only_the_first_choice_is_audited():
    setting = Setting(share=0.0)
    setting.accepted()
    every = Setting()
    every.accepted(choice_index=1)
    for one in (setting, every):
        await one.ended()
        assert (one.reports, one.large.calls) == ([], [])


@pytest.mark.parametrize(("basis", "audits"), [("answer", 1), ("gain", 1), ("uncovered", 0)])
async def test_an_answer_that_the_rule_has_no_threshold_for_is_not_audited(basis, audits):
    """One kept for its gain is: the bounds are part of what the guarantee is for."""
    setting = Setting(score=0.0)
    setting.accepted(basis=basis)
    await setting.ended()
    assert (setting.audits(), len(setting.reports)) == ((audits, audits), audits)


async def test_a_route_without_a_target_is_not_audited():
    setting = Setting()
    setting.accepted(route=None)
    setting.accepted(route=RouteScore("code", 0.9, {"code": 0.9}))
    await setting.ended()
    assert setting.reports == []


async def test_what_cannot_be_judged_is_billed_and_counted_and_says_nothing():
    setting = Setting(score=None)
    setting.accepted()
    await setting.ended()
    assert setting.audits() == (0, 0)
    assert setting.watch.report()["legal"].num_not_scored == 1
    assert (setting.reports[0].score, setting.reports[0].account.reason) == (None, "audit: not scored")
    assert setting.shadows.num_finished == 1


@pytest.mark.parametrize("score", [ZeroDivisionError("a scorer's fault"), float("nan"), 1.5, -0.1])
async def test_a_scorer_that_fails_is_counted_and_the_answer_is_billed_all_the_same(score, caplog):
    setting = Setting(score=score)
    setting.accepted()
    await setting.ended()
    assert setting.audits() == (0, 0)
    assert setting.reports[0].account.attempts[0].outcome == "shadow"
    assert setting.shadows.num_failed == 1
    assert "audit of query q1 failed" in caplog.text


async def test_a_large_model_that_fails_is_billed_for_what_it_did(caplog):
    setting = Setting(FakeEngine(default=FakeAnswer("a b c", fail_after=2)))
    setting.accepted()
    await setting.ended()
    account = setting.reports[0].account
    assert (account.outcome, account.attempts[0].outcome) == ("shadow", "failed")
    assert account.attempts[0].usage.completion_tokens == 2
    assert (setting.compared, setting.audits(), setting.shadows.num_failed) == ([], (0, 0), 1)


async def test_an_audit_that_is_cut_off_by_closing_is_billed_once_and_closes_the_engine():
    large = FakeEngine(default="a b c", token_s=0.0, first_token_s=3600)
    setting = Setting(large)
    setting.accepted()
    await asyncio.sleep(0)  # the audit begins
    assert large.calls
    await setting.shadows.close()
    (report,) = setting.reports
    assert (report.account.outcome, report.account.attempts[0].outcome) == ("shadow", "cancelled")
    assert large.cancelled == ["q1-audit:fallback:0"]
    assert setting.shadows.num_cancelled == 1


async def test_an_audit_that_takes_too_long_is_billed_too():
    setting = Setting(FakeEngine(default="a b c", first_token_s=3600), shadows=Shadows(1, 0.001))
    setting.accepted()
    await setting.ended()
    assert setting.reports[0].account.attempts[0].outcome == "cancelled"
    assert setting.shadows.num_timed_out == 1


async def test_a_report_that_cannot_be_taken_is_logged(caplog):
    setting = Setting()
    setting.auditor._report = lambda report: 1 / 0
    setting.accepted()
    await setting.ended()
    assert setting.shadows.num_failed == 1
    assert "division by zero" in caplog.text


async def test_what_is_audited_when_all_places_are_taken_is_dropped_and_counted():
    setting = Setting(FakeEngine(default="a", first_token_s=3600), shadows=Shadows(1, 60))
    setting.accepted()
    setting.accepted()
    assert setting.shadows.num_dropped == 1
    await setting.shadows.close()


async def test_an_audit_reports_to_the_watch_that_asked_for_it():
    setting = Setting()
    setting.accepted()
    setting.auditor.watch = Watch(WatchSettings(audit_share=1.0), {})
    await setting.ended()
    assert setting.audits() == (1, 0)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_cascade_has_its_decisions_noted_and_its_accepted_answers_audited(accepts):
    setting = Setting()
    rule = ThresholdRule(CascadeSettings(threshold=0.0 if accepts else 1.0))
    small, large = FakeEngine(default="small words"), FakeEngine(default="large words")
    cascade = Cascade(
        Node("specialists", "small", small), Node("fallback", "large", large), rule, observer=setting.auditor
    )
    trace = Trace(QUERY)
    trace.route = ROUTE
    text = "".join([delta.text async for delta in cascade.answer(QUERY, trace, None, 0)])
    before = trace.answer()
    await setting.ended()
    assert setting.watch.report()["legal"].drift["confidence"].num_values == 1
    assert text == ("small words" if accepts else "large words")
    assert setting.compared == ([("hi", "small words", "the large answer")] if accepts else [])
    assert trace.answer().attempts == before.attempts


@pytest.mark.parametrize(
    ("query", "question"),
    [
        (Query("q1", "auto", SamplingParams(), prompt="Once upon"), "Once upon"),
        (
            Query("q1", "auto", SamplingParams(), (Message("system", "be brief"), Message("user", "hi"))),
            "hi",
        ),
        (
            Query("q1", "auto", SamplingParams(), (Message("user", "a"), Message("assistant", "b"))),
            "user: a\nassistant: b",
        ),
    ],
)
async def test_a_scorer_is_shown_what_the_user_asked(query, question):
    setting = Setting()
    setting.accepted(query)
    await setting.ended()
    assert setting.compared[0][0] == question
