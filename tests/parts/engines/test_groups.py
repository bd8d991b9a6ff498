"""What core.GroupEngine promises, asked of engines that know groups and of one whose members are calls of their own."""

import asyncio
from collections import defaultdict
from dataclasses import replace

import pytest

from serve_app.core import (
    DeadlineExceeded,
    EngineError,
    Group,
    GroupEngine,
    HeadraceError,
    ModelNotFound,
    PromptTooLong,
    RequestError,
)
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.engines.groups import as_group_engine, part_of_group, side_by_side
from serve_app.streams import merged
from tests.parts.engines.openai_server import OpenAIServer


def scripted() -> FakeEngine:
    return FakeEngine(default="one two three four five six seven", adapters={"legal": "v1"}, max_context_tokens=128)


@pytest.fixture(params=["fake", "local", "vllm", "remote"])
async def engine(request, start, start_vllm, elsewhere) -> GroupEngine:
    if request.param == "local":
        return await start(max_context_tokens=128)
    if request.param == "vllm":
        return as_group_engine((await start_vllm(max_context_tokens=128))[0])
    if request.param == "remote":
        return as_group_engine(await elsewhere(OpenAIServer(scripted()).app(), adapters=["legal"]))
    return scripted()


LOCK_STEP = pytest.mark.parametrize("engine", ["fake", "local"], indirect=True)


async def members(engine, *calls, **fields):
    """Deltas by member; a member's error where it had one."""
    said = defaultdict(list)
    async for one in engine.generate_group(Group(calls, **fields)):
        assert (one.delta is None) != (one.error is None)
        said[one.member].append(one.delta or one.error)
    return dict(said)


async def idle(engine):
    """Return once no call is here: a row is freed just after its last word."""
    async with asyncio.timeout(60):
        while (info := await engine.info()).active_rows + info.waiting_calls:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def ids_of(deltas):
    return [token.token_id for delta in deltas for token in delta.tokens]


async def test_each_member_says_what_it_says_alone(engine, asking, reading):
    calls = [asking("hello", "a", max_tokens=5), asking("hello", "b", "legal", max_tokens=3), asking("bye", "c")]
    calls[2] = replace(calls[2], sampling=calls[0].sampling)
    alone = [await reading(engine, call) for call in calls]
    together = await members(engine, *calls)
    assert sorted(together) == [0, 1, 2]
    for member, answer in enumerate(alone):
        said = together[member]
        assert ids_of(said) == ids_of(answer)
        assert "".join(one.text for one in said) == "".join(one.text for one in answer)
        assert said[-1].finish_reason == answer[-1].finish_reason
        assert said[-1].usage.completion_tokens == answer[-1].usage.completion_tokens
        assert said[-1].adapter_version == answer[-1].adapter_version
        assert [one.finish_reason is not None for one in said] == [False] * (len(said) - 1) + [True]
    await idle(engine)


async def test_bad_members_say_why_and_the_others_go_on(engine, asking, reading):
    calls = (asking(adapter="nobody"), asking("hello", max_tokens=4), asking("word " * 200), asking(max_tokens=2))
    late = replace(asking("late", max_tokens=50), timeout_s=0.0)
    said = await members(engine, *calls, late)
    assert isinstance(said[0][-1], ModelNotFound) and isinstance(said[2][-1], PromptTooLong)
    assert isinstance(said[4][-1], DeadlineExceeded)
    assert ids_of(said[1]) == ids_of(await reading(engine, calls[1])) and len(ids_of(said[3])) == 2


async def test_group_of_bad_members_only_ends_with_their_errors(engine, asking):
    said = await members(engine, asking(adapter="nobody"), asking(adapter="nobody"))
    assert [isinstance(one, ModelNotFound) for errors in said.values() for one in errors] == [True, True]


async def test_closed_group_leaves_no_row_and_the_engine_answers_on(engine, asking, reading):
    stream = engine.generate_group(Group(tuple(asking(call_id=f"{at}", max_tokens=50) for at in range(3))))
    await anext(stream)
    await stream.aclose()
    await idle(engine)
    assert await reading(engine, asking(max_tokens=2))


async def test_group_that_makes_no_sense_is_refused(engine, asking):
    for group in (Group(()), Group((asking(),), weights=(1.0, 2.0)), Group((asking(),), weights=(0.0,))):
        with pytest.raises(RequestError):
            await anext(engine.generate_group(group))


@pytest.mark.parametrize("engine", ["vllm", "remote"], indirect=True)
async def test_lock_step_is_refused_by_engines_that_cannot_and_they_say_which_can(engine, asking):
    with pytest.raises(RequestError, match="engine: local"):
        await anext(engine.generate_group(Group((asking(), asking()), lock_step=True)))


@LOCK_STEP
async def test_lock_step_of_one_and_of_equals_is_the_plain_answer(engine, asking, reading):
    call = asking(max_tokens=6)
    alone = await reading(engine, call)
    for size in (1, 2, 3):
        said = await members(engine, *[call] * size, lock_step=True)
        assert len(said) == size
        for deltas in said.values():
            assert ids_of(deltas) == ids_of(alone)
            assert deltas[-1].usage.completion_tokens == 6 and deltas[-1].finish_reason == "length"


@LOCK_STEP
async def test_members_in_lock_step_say_the_same_and_each_names_its_version_and_prompt(engine, asking):
    base, legal = await members_of_two(engine, asking, lock_step=True)
    assert ids_of(base) == ids_of(legal)
    assert (base[-1].adapter_version, legal[-1].adapter_version) == (
        None,
        (await engine.info()).adapters["legal"],
    )
    assert legal[-1].usage.prompt_tokens > 0 and legal[-1].usage.completion_tokens == len(ids_of(legal))


async def members_of_two(engine, asking, **fields):
    said = await members(engine, asking("hi", "b", max_tokens=6), asking("hi", "l", "legal", max_tokens=6), **fields)
    return said[0], said[1]


@LOCK_STEP
async def test_lock_step_with_a_bad_member_is_refused_as_a_whole(engine, asking):
    for bad, error in ((asking(adapter="nobody"), ModelNotFound), (asking("word " * 200), PromptTooLong)):
        with pytest.raises(error):
            await members(engine, asking(), bad, lock_step=True)
    await idle(engine)


@LOCK_STEP
async def test_lock_step_ends_for_all_at_the_earliest_deadline(engine, asking):
    calls = (asking(max_tokens=50), replace(asking(max_tokens=50), timeout_s=0.0))
    with pytest.raises(DeadlineExceeded):
        await members(engine, *reversed(calls), lock_step=True)


@pytest.mark.parametrize("engine", ["local"], indirect=True)
async def test_weights_near_zero_leave_the_answer_to_the_other_member(engine, asking, reading):
    base = await reading(engine, asking("hi", max_tokens=6))
    legal = await reading(engine, asking("hi", adapter="legal", max_tokens=6))
    assert ids_of(base) != ids_of(legal)
    for weights, alone in (((1.0, 1e-9), base), ((1e-9, 1.0), legal)):
        for deltas in await members_of_two(engine, asking, lock_step=True, weights=weights):
            assert ids_of(deltas) == ids_of(alone)


async def test_local_members_with_one_prompt_compute_it_once(start, asking):
    engine = await start()
    call = asking("the same long prompt for all of them", max_tokens=3, temperature=1.0)
    calls = [replace(call, sampling=replace(call.sampling, seed=seed)) for seed in range(4)]
    said = await members(engine, *calls)
    usages = [deltas[-1].usage for deltas in said.values()]
    assert [usage.cached_tokens for usage in usages] == [0, *[usages[0].prompt_tokens - 1] * 3]
    assert len({tuple(ids_of(deltas)) for deltas in said.values()}) > 1


async def test_local_group_is_queued_whole_or_not_at_all(start, asking, stopped):
    engine = await start(max_rows=4, max_waiting=0)
    with stopped(engine):
        busy = engine.generate_group(Group(tuple(asking(call_id=f"{at}", max_tokens=3) for at in range(2))))
        first = asyncio.ensure_future(anext(busy))
        while (await engine.info()).active_rows + (await engine.info()).waiting_calls < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        with pytest.raises(HeadraceError, match="rows are busy"):
            await members(engine, *[asking(max_tokens=3)] * 3)
        info = await engine.info()
        assert info.active_rows + info.waiting_calls == 2
    await first
    await busy.aclose()


async def test_local_group_of_more_members_than_rows_or_adapters_than_slots_is_refused(start, asking, make_adapter):
    engine = await start(max_rows=2, adapter_slots=1)
    await engine.add_version(engine.read_adapter(make_adapter(), "other", False))
    await engine.set_live(
        {**(await engine.info()).adapters, "other": engine.read_adapter(make_adapter(), "o", False).version}
    )
    for lock_step in (False, True):
        with pytest.raises(EngineError, match="2 rows"):
            await members(engine, *[asking()] * 3, lock_step=lock_step)
        with pytest.raises(EngineError, match="adapter slots"):
            await members(engine, asking(adapter="legal"), asking(adapter="other"), lock_step=lock_step)


async def test_one_stop_string_ends_all_members_in_lock_step(start, asking, reading):
    engine = await start()
    text = "".join(one.text for one in await reading(engine, asking(max_tokens=7)))
    calls = asking(max_tokens=7), asking(max_tokens=7, stop=(text[3:5],))
    said = await members(engine, *calls, lock_step=True)
    assert all(deltas[-1].finish_reason == "stop" for deltas in said.values())
    assert len({"".join(one.text for one in deltas) for deltas in said.values()}) == 1


class OneWord:
    """Says one word of each call and then hangs, or breaks in a way that is no answer to a user."""

    def __init__(self, breaks=()):
        self.breaks, self.closed = breaks, []

    async def generate(self, call):
        try:
            yield await anext(FakeEngine().generate(call))
            if call.call_id in self.breaks:
                raise ZeroDivisionError(call.call_id)
            await asyncio.Event().wait()
        finally:
            self.closed.append(call.call_id)


async def test_fault_of_the_engine_is_raised_and_closes_the_other_members(asking):
    engine = OneWord(breaks=("b",))
    with pytest.raises(ZeroDivisionError):
        async for _ in side_by_side(engine, Group((asking(call_id="a"), asking(call_id="b")))):
            pass
    assert sorted(engine.closed) == ["a", "b"]


async def test_group_that_is_closed_closes_all_members(asking):
    engine = OneWord()
    stream = side_by_side(engine, Group((asking(call_id="a"), asking(call_id="b"))))
    assert sorted([(await anext(stream)).member for _ in range(2)]) == [0, 1]
    await stream.aclose()
    assert sorted(engine.closed) == ["a", "b"]


async def test_member_that_fails_midway_leaves_the_others_to_their_end(asking):
    engine = FakeEngine(lambda call: FakeAnswer("one two three", fail_after=1 if call.call_id == "b" else None))
    said = await members(engine, asking(call_id="a"), asking(call_id="b"))
    assert len(said[0]) == 3 and isinstance(said[1][-1], EngineError) and len(said[1]) == 2


async def test_part_of_a_group_keeps_its_places_and_weights(asking):
    engine = FakeEngine(lambda call: call.call_id, adapters={})
    group = Group(tuple(asking(call_id=name) for name in "abc"), weights=(1.0, 2.0, 3.0))
    said = [one async for one in part_of_group(engine, group, (0, 2))]
    assert [(one.member, one.delta.text) for one in said] == [(0, "a"), (2, "c")]
    assert [one async for one in part_of_group(engine, group, ())] == []


async def test_what_members_say_at_the_same_time_comes_together(asking):
    group = Group(tuple(asking(call_id=name) for name in "ab"), lock_step=True)
    bundles = [one async for one in merged([FakeEngine(default="x y z").generate_group(group)])]
    assert [one.member for bundle in bundles for one in bundle] == [0, 1] * 3
    assert all(len(bundle) % 2 == 0 for bundle in bundles)
