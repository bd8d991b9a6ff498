"""Members that write one answer together: it is streamed, and every member is billed."""

import asyncio

import pytest

from serve_app.config import RoutesSettings
from serve_app.core import EngineError, RouteScore
from serve_app.engines.fake import FakeAnswer

ROUTES = RoutesSettings(adapters={"legal": "legal", "code": "code", "medical": "medical"})


def average(stage, said="a b c", **more):
    return stage(dict.fromkeys(("legal", "code", "medical"), said), strategy="average", **more)


async def test_the_first_members_words_are_sent_as_they_come_and_all_are_billed(stage):
    show = average(stage)
    assert [delta.text async for delta in show.deltas()] == ["a", " b", " c"]
    (group,) = show.small.groups
    assert group.lock_step
    assert group.weights == pytest.approx((1 / 3,) * 3)
    account = show.trace.answer()
    assert show.outcomes == {"legal": "accepted", "code": "counted", "medical": "counted"}
    assert {one.usage.completion_tokens for one in account.attempts} == {3}
    assert account.reason == "average of 3 members: mean probability 0.951"


async def test_weights_of_the_members_weigh_the_mean(stage):
    show = average(stage, members=({"model": "legal", "weight": 3}, "base"))
    show.small.default = "a b c"
    await show.ask()
    assert show.small.groups[0].weights == pytest.approx((0.75, 0.25))


async def test_nothing_waits_for_the_end(stage):
    show = average(stage)
    deltas = show.deltas()
    assert (await anext(deltas)).text == "a"
    await deltas.aclose()
    assert show.small.num_closed == 1
    assert set(show.outcomes.values()) == {"cancelled"}


async def test_the_last_words_wait_until_all_members_are_billed(stage):
    show = average(stage, members=("legal", "code"))
    show.small.waits["code"] = gate = asyncio.Event()
    asked = asyncio.create_task(show.ask())
    while not show.small.finished:  # noqa: ASYNC110  the fake has no event
        await asyncio.sleep(0)
    assert not asked.done()
    gate.set()
    assert await asked == "a b c"


async def test_members_fail_together_and_the_large_model_steps_in(stage):
    show = average(stage, FakeAnswer("a b c", fail_after=0))
    assert await show.ask() == "large says 7"
    assert show.causes == ["small_failed"]
    assert [show.outcomes[name] for name in ("legal", "code", "medical", "large")] == ["failed"] * 3 + ["accepted"]


async def test_what_breaks_off_after_words_were_sent_is_an_error(stage):
    show = average(stage, FakeAnswer("a b c", fail_after=2))
    with pytest.raises(EngineError):
        await show.ask()
    assert not show.large.calls


async def test_a_lost_replica_is_asked_again_where_nothing_was_sent(stage):
    show = average(stage)
    show.trace.streamed = False
    show.small.lost = 1
    assert await show.ask() == "a b c"
    assert show.trace.retried == ["specialists"]


async def test_an_adapter_that_is_gone_takes_no_part(stage):
    show = average(stage, members=("legal", "poetry"))
    assert await show.ask() == "a b c"
    assert show.causes == ["adapter_gone"]
    assert show.small.groups[0].weights == (1.0,)


async def test_fewer_members_than_the_quorum_are_an_error(stage):
    show = average(stage, members=("legal", "poetry"), quorum=2, large=None)
    with pytest.raises(EngineError, match=r"1 of 2 members .* fewer than ensemble\.quorum 2"):
        await show.ask()


def soft(stage, probabilities, **more):
    show = stage(
        dict.fromkeys(("legal", "code", "medical"), "a b c"),
        members=(),
        strategy="soft_routing",
        router_routes=ROUTES,
        **more,
    )
    show.small.default = "a b c"
    label = max(probabilities, key=probabilities.get)
    show.trace.route = RouteScore(label, probabilities[label], probabilities)
    return show


async def test_the_routers_probabilities_weigh_the_adapters(stage):
    show = soft(stage, {"legal": 0.6, "general": 0.24, "travel": 0.12, "code": 0.04})
    assert await show.ask() == "a b c"
    (group,) = show.small.groups
    assert [call.adapter for call in group.calls] == ["legal", None]  # two labels go to the base; one is too unlikely
    assert group.weights == pytest.approx((0.6 / 0.96, 0.36 / 0.96))
    assert show.trace.answer().reason.startswith("soft routing of 2 members")


async def test_without_a_score_the_default_answers(stage):
    show = soft(stage, {"legal": 1.0})
    show.trace.route = None
    await show.ask()
    assert [call.adapter for call in show.small.groups[0].calls] == [None]


async def test_probabilities_that_are_all_nothing_leave_the_label(stage):
    show = soft(stage, {"legal": 0.0})
    await show.ask()
    assert [call.adapter for call in show.small.groups[0].calls] == ["legal"]
