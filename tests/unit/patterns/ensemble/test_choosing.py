"""Members are heard side by side, one answer of theirs is given, and every one of them is billed."""

import asyncio

import pytest

from serve_app.core import EngineError, ModelNotFound, PromptTooLong, Query, SamplingParams
from serve_app.engines.fake import FakeAnswer

SIX_OF_ONE = {"legal": "it is 4", "code": "so: 6", "medical": "6 of them"}


async def test_the_answer_most_members_give_is_given_and_the_others_are_counted(stage):
    show = stage(SIX_OF_ONE, normalise="number", early_stop=False)
    assert await show.ask() == "so: 6"
    account = show.trace.answer()
    assert show.outcomes == {"legal": "counted", "code": "accepted", "medical": "counted"}
    assert {one.role for one in account.attempts} == {"member"}
    assert (account.adapter, account.adapter_version, account.outcome) == ("code", "v2", "accepted")
    assert account.confidence == pytest.approx(2 / 3)
    assert account.reason == "vote: 2 of 3 answers agree, share 0.667"
    assert not account.escalated
    assert not show.causes


async def test_all_members_on_one_node_are_one_group(stage):
    show = stage(SIX_OF_ONE, members=("legal", "code", "base", "large"))
    await show.ask()
    assert [[call.adapter for call in group.calls] for group in show.small.groups] == [["legal", "code", None]]
    assert [len(group.calls) for group in show.large.groups] == [1]
    ids = [call.call_id for group in (*show.small.groups, *show.large.groups) for call in group.calls]
    assert len(set(ids)) == 4


async def test_of_equal_answers_the_surest_members_words_are_given(stage):
    answers = {"legal": FakeAnswer("6", -0.9), "code": FakeAnswer("about 6", -0.1), "medical": FakeAnswer("6!", -0.5)}
    assert await stage(answers, normalise="number", early_stop=False).ask() == "about 6"


async def test_a_tie_goes_to_the_surer_side(stage):
    answers = {"legal": FakeAnswer("4", -0.9), "code": FakeAnswer("6", -0.1)}
    assert await stage(answers, members=("legal", "code")).ask() == "6"


async def test_samples_of_one_member_have_its_temperature_and_seeds_of_their_own(stage):
    query = Query("q1", "ensemble", SamplingParams(seed=7), prompt="How many?")
    show = stage(members=({"model": "base", "samples": 3, "temperature": 0.7},), query=query, early_stop=False)
    await show.ask(choice_index=1)
    calls = show.small.groups[0].calls
    assert {call.sampling.temperature for call in calls} == {0.7}
    assert len({call.sampling.seed for call in calls}) == 3
    assert show.trace.is_drawn


async def test_once_the_vote_is_decided_the_rest_is_cancelled(stage):
    show = stage({"legal": "6", "code": "6"})
    show.small.waits["medical"] = asyncio.Event()
    assert await show.ask() == "6"
    assert show.outcomes == {"legal": "accepted", "code": "counted", "medical": "cancelled"}
    assert show.small.num_closed == 1
    assert show.trace.answer().outcome == "accepted"
    assert show.trace.answer().reason == "vote: 2 of 2 answers agree, share 1.000, 1 not waited for"
    assert not show.causes  # as configured


async def test_without_early_stop_all_are_heard(stage):
    show = stage({"legal": "6", "code": "6", "medical": "6"}, early_stop=False)
    await show.ask()
    assert sorted(show.outcomes.values()) == ["accepted", "counted", "counted"]


async def test_a_vote_whose_share_may_still_fall_below_the_bound_is_not_stopped(stage):
    show = stage({"legal": "6", "code": "6", "medical": "4"}, escalate_below=0.8)
    show.small.waits["medical"] = gate = asyncio.Event()
    asked = asyncio.create_task(show.ask())
    while len(show.small.finished) < 2:  # noqa: ASYNC110  the fake has no event
        await asyncio.sleep(0)
    gate.set()
    assert await asked == "large says 7"


async def test_a_member_that_fails_does_not_fail_the_answer(stage):
    show = stage({"legal": "6", "code": "6"})
    show.small.errors["medical"] = EngineError("It broke.")
    assert await show.ask() == "6"
    account = show.trace.answer()
    assert show.outcomes["medical"] in ("failed", "cancelled")
    assert account.outcome == "accepted"


async def test_a_failed_member_is_named_in_the_reason(stage):
    show = stage({"legal": "6", "code": "4"}, early_stop=False)
    show.small.errors["medical"] = EngineError("It broke.")
    await show.ask()
    assert show.outcomes["medical"] == "failed"
    assert show.causes == ["member_failed"]
    expected = "vote: 1 of 2 answers agree, share 0.500, 1 failed; member medical failed: It broke"
    assert show.trace.answer().reason == expected


async def test_a_member_that_is_late_is_billed_and_not_waited_for(stage):
    show = stage({"legal": "6", "code": "4"}, deadline_s=0.05)
    show.small.waits["medical"] = asyncio.Event()
    assert await show.ask() == "6"
    assert show.outcomes["medical"] == "timed_out"
    assert show.causes == ["member_failed"]
    assert show.trace.answer().outcome == "accepted"


async def test_fewer_answers_than_the_quorum_are_an_error_without_a_large_model(stage):
    show = stage({"legal": "6"}, large=None, quorum=2)
    show.small.errors = {"code": EngineError("It broke."), "medical": EngineError("It broke.")}
    with pytest.raises(EngineError, match=r"1 of 3 members of the ensemble answered, fewer than ensemble\.quorum 2"):
        await show.ask()
    show.trace.failed = True
    assert show.outcomes == {"legal": "counted", "code": "failed", "medical": "failed"}
    assert show.trace.answer().outcome == "failed"


async def test_fewer_answers_than_the_quorum_are_given_to_the_large_model(stage):
    show = stage({"legal": "6"}, quorum=2)
    show.small.errors = {"code": EngineError("It broke."), "medical": EngineError("It broke.")}
    assert await show.ask() == "large says 7"
    assert show.outcomes == {"legal": "escalated", "code": "failed", "medical": "failed", "large": "accepted"}
    assert "small_failed" in show.causes
    account = show.trace.answer()
    assert (account.outcome, account.escalated, account.model) == ("accepted", True, "large")


async def test_a_late_ensemble_without_a_quorum_is_given_to_the_large_model(stage):
    show = stage(deadline_s=0.02)
    show.small.waits = dict.fromkeys(("legal", "code", "medical"), asyncio.Event())
    assert await show.ask() == "large says 7"
    assert set(show.outcomes.values()) == {"timed_out", "accepted"}


async def test_the_error_that_all_members_have_is_the_clients(stage):
    show = stage(large=None)
    show.small.errors = dict.fromkeys(("legal", "code", "medical"), PromptTooLong("Too long.", "messages"))
    with pytest.raises(PromptTooLong):
        await show.ask()


async def test_an_adapter_that_is_gone_is_left_out_and_said_so(stage):
    show = stage({"legal": "6"}, members=("legal", "poetry"))
    assert await show.ask() == "6"
    assert show.causes == ["adapter_gone"]
    assert len(show.small.groups[0].calls) == 1


async def test_an_adapter_that_goes_while_it_is_asked_is_gone_too(stage):
    show = stage({"legal": "6", "code": "6"}, early_stop=False)
    show.small.errors["medical"] = ModelNotFound("There is no adapter 'medical'.", "model")
    assert await show.ask() == "6"
    assert show.causes == ["adapter_gone"]


async def test_where_too_few_adapters_are_served_nobody_is_asked(stage):
    show = stage(members=("legal", "poetry"), quorum=2, large=None)
    with pytest.raises(EngineError, match="0 of 2 members"):
        await show.ask()
    assert not show.small.groups


async def test_members_of_a_lost_replica_are_asked_again_and_answers_that_were_whole_are_kept(stage):
    show = stage({"legal": "6", "code": "6", "medical": "6"}, early_stop=False)
    show.small.lost = 1
    show.small.waits = {"code": asyncio.Event(), "medical": asyncio.Event()}
    asked = asyncio.create_task(show.ask())
    while len(show.small.groups) < 2:  # noqa: ASYNC110  the fake has no event
        await asyncio.sleep(0)
    for gate in show.small.waits.values():
        gate.set()
    assert await asked == "6"
    assert [call.adapter for call in show.small.groups[1].calls] == ["code", "medical"]
    assert show.trace.retried == ["specialists"]
    assert [one.outcome for one in show.trace.answer().attempts].count("failed") == 2
    assert not show.causes


async def test_a_client_that_leaves_ends_all_members(stage):
    show = stage({"legal": "6"})
    show.small.waits = {"code": asyncio.Event(), "medical": asyncio.Event()}
    asked = asyncio.create_task(show.ask())
    while not show.small.finished:  # noqa: ASYNC110  the fake has no event
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert show.small.num_closed == 1
    assert set(show.outcomes.values()) == {"cancelled"}
    assert show.trace.answer().outcome == "cancelled"


async def test_choices_are_ensembles_of_their_own(stage):
    show = stage(SIX_OF_ONE, normalise="number", early_stop=False)
    texts = await asyncio.gather(show.ask(0), show.ask(1))
    assert texts == ["so: 6"] * 2
    assert [one.choice_index for one in show.trace.answer().attempts] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("strategy", ["vote", "average"])
async def test_an_engine_that_breaks_in_an_unknown_way_is_no_silent_wait(stage, strategy):
    async def broken(group):
        raise ZeroDivisionError
        yield

    show = stage(strategy=strategy)
    show.small.generate_group = broken
    with pytest.raises(ZeroDivisionError):
        await show.ask()
    assert show.outcomes == dict.fromkeys(("legal", "code", "medical"), "failed")
