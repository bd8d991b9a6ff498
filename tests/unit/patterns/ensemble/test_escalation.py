"""Members that disagree leave the answer to the large model, within the budget and as the cascade's settings say."""

import asyncio

import pytest

from serve_app.core import BudgetExceeded, EngineError
from serve_app.engines.fake import FakeAnswer
from serve_app.patterns import WhenFailed

SPLIT = {"legal": "4", "code": FakeAnswer("6", -0.01), "medical": "8"}


class Budget:
    """A `Guard` that says what it is told to."""

    def __init__(self, says):
        self.says, self.num_asked = says, 0

    async def may_escalate(self, query):
        self.num_asked += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def test_too_small_a_share_is_escalated(stage):
    budget = Budget(True)
    show = stage(SPLIT, escalate_below=0.6, guard=budget)
    assert await show.ask() == "large says 7"
    account = show.trace.answer()
    assert show.outcomes == {"legal": "escalated", "code": "escalated", "medical": "escalated", "large": "accepted"}
    assert [one.role for one in account.attempts] == ["member"] * 3 + ["answer"]
    assert (account.escalated, account.model, account.adapter) == (True, "large", None)
    assert account.confidence == pytest.approx(1 / 3)
    expected = "vote: 1 of 3 answers agree, share 0.333: below 0.6, the large model's answer is wanted"
    assert account.reason == expected
    assert budget.num_asked == 1


async def test_a_share_at_the_bound_is_accepted(stage):
    show = stage({"legal": "6", "code": "6", "medical": "6", None: "6"}, members=("legal", "code"), escalate_below=1.0)
    assert await show.ask() == "6"
    assert not show.trace.answer().escalated


async def test_without_a_budget_the_vote_counts_after_all(stage):
    show = stage(SPLIT, escalate_below=0.6, guard=Budget(False))
    assert await show.ask() == "6"
    assert show.causes == ["no_budget"]
    account = show.trace.answer()
    assert (account.escalated, account.adapter, account.outcome) == (False, "code", "accepted")
    assert show.outcomes == {"legal": "counted", "code": "accepted", "medical": "counted"}
    assert account.reason.endswith("; no budget to escalate")


async def test_a_budget_that_refuses_the_query_does(stage):
    show = stage(SPLIT, escalate_below=0.6, guard=Budget(BudgetExceeded("Spent.")))
    with pytest.raises(BudgetExceeded):
        await show.ask()


async def test_where_the_large_model_fails_the_vote_counts_after_all(stage):
    show = stage(SPLIT, escalate_below=0.6, large=FakeAnswer("never", fail_after=0))
    assert await show.ask() == "6"
    assert show.causes == ["large_failed"]
    account = show.trace.answer()
    assert (account.escalated, account.adapter, account.outcome) == (False, "code", "accepted")
    assert show.outcomes == {"legal": "counted", "code": "accepted", "medical": "counted", "large": "failed"}


async def test_where_the_large_model_fails_and_shall_the_error_is_the_clients(stage):
    large, when_failed = FakeAnswer("never", fail_after=0), WhenFailed(large="fail")
    show = stage(SPLIT, escalate_below=0.6, large=large, when_failed=when_failed)
    with pytest.raises(EngineError):
        await show.ask()


async def test_a_large_model_that_has_begun_is_not_retracted(stage):
    show = stage(SPLIT, escalate_below=0.6, large=FakeAnswer("one two three", fail_after=2))
    with pytest.raises(EngineError):
        await show.ask()
    show.trace.failed = True
    assert show.trace.answer().outcome == "failed"


async def test_a_large_member_is_not_asked_twice(stage):
    budget = Budget(False)
    show = stage(SPLIT, members=("legal", "code", "large"), escalate_below=0.6, guard=budget)
    assert await show.ask() == "large says 7"
    assert show.outcomes == {"legal": "escalated", "code": "escalated", "large": "accepted"}
    assert (len(show.large.calls), budget.num_asked) == (1, 0)
    assert show.trace.answer().escalated


async def test_a_large_member_is_waited_for_where_the_others_disagree(stage):
    show = stage(SPLIT, members=("legal", "code", "large"), escalate_below=0.9)
    show.large.waits[None] = asyncio.Event()
    asking = asyncio.create_task(show.ask())
    for _ in range(50):  # turns enough for all that follows from the others' answers
        await asyncio.sleep(0)
    assert show.outcomes == {"legal": "cancelled", "code": "cancelled", "large": "cancelled"}  # nothing is settled yet
    show.large.waits[None].set()
    assert await asking == "large says 7"
    assert show.outcomes == {"legal": "escalated", "code": "escalated", "large": "accepted"}
    assert len(show.large.calls) == 1


async def test_a_large_member_is_not_waited_for_where_the_others_agree(stage):
    show = stage({"legal": "6", "code": "6"}, members=("legal", "code", "large"), escalate_below=0.6)
    show.large.waits[None] = asyncio.Event()
    assert await show.ask() == "6"
    assert show.outcomes["large"] == "cancelled"


@pytest.mark.parametrize("when_large_fails", ["accept_small", "fail"])
async def test_where_a_large_member_failed_it_is_not_asked_to_settle_the_vote(stage, when_large_fails):
    large, rule = FakeAnswer("never", fail_after=0), WhenFailed(large=when_large_fails)
    show = stage(SPLIT, members=("legal", "code", "large"), escalate_below=0.9, large=large, when_failed=rule)
    if when_large_fails == "fail":
        with pytest.raises(EngineError):
            await show.ask()
        assert show.outcomes == {"legal": "escalated", "code": "escalated", "large": "failed"}
    else:
        assert await show.ask() == "6"
        assert show.outcomes == {"legal": "counted", "code": "accepted", "large": "failed"}
        assert show.causes == ["member_failed", "large_failed"]
        assert not show.trace.answer().escalated
    assert len(show.large.calls) == 1


async def test_without_a_quorum_a_large_members_answer_is_given(stage):
    show = stage(members=("legal", "code", "large"), quorum=2)
    show.small.errors = {"legal": EngineError("It broke."), "code": EngineError("It broke.")}
    assert await show.ask() == "large says 7"
    assert show.outcomes == {"legal": "failed", "code": "failed", "large": "accepted"}
    assert "small_failed" in show.causes


async def test_where_a_failed_ensemble_shall_fail_the_large_model_is_not_asked(stage):
    show = stage(quorum=2, when_failed=WhenFailed(small="fail"))
    show.small.errors = dict.fromkeys(("legal", "code", "medical"), EngineError("It broke."))
    with pytest.raises(EngineError, match="It broke"):
        await show.ask()
    assert not show.large.calls


async def test_a_large_member_that_failed_is_not_asked_once_more(stage):
    show = stage(members=("legal", "large"), large=FakeAnswer("never", fail_after=0))
    show.small.errors["legal"] = EngineError("It broke.")
    with pytest.raises(EngineError, match="It broke"):
        await show.ask()
    assert len(show.large.calls) == 1


async def test_a_client_that_leaves_while_the_large_model_answers_pays_for_both(stage):
    show = stage(SPLIT, escalate_below=0.6, large=FakeAnswer("one two three"))
    deltas = show.deltas()
    await anext(deltas)
    await deltas.aclose()
    assert show.outcomes == {"legal": "escalated", "code": "escalated", "medical": "escalated", "large": "cancelled"}
    assert show.trace.answer().outcome == "cancelled"


async def test_no_further_member_is_waited_for_once_the_bound_is_out_of_reach(stage):
    show = stage(SPLIT, members=("legal", "code", "base"), escalate_below=1.0)
    show.small.waits[None] = asyncio.Event()
    assert await show.ask() == "large says 7"
    assert show.outcomes == {"legal": "escalated", "code": "escalated", "small": "cancelled", "large": "accepted"}
