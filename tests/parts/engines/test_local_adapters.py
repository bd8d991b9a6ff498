"""Adapters come, change and go while calls are answered; more may be known than there is room for."""

import asyncio
from dataclasses import replace

import pytest

from serve_app.adapters import load
from serve_app.core import AdapterError, ModelNotFound


def tokens_of(deltas):
    return [token.token_id for delta in deltas for token in delta.tokens]


def versions_of(deltas):
    return {delta.adapter_version for delta in deltas}


@pytest.fixture
def many(make_adapter):
    """Nine adapters, `a0` to `a8`."""
    return [load(make_adapter(seed), f"a{seed}") for seed in range(9)]


@pytest.fixture
def old(make_adapter):
    return load(make_adapter(100), "law")


@pytest.fixture
def new(make_adapter):
    return load(make_adapter(101), "law")


@pytest.fixture
def alone(start, asking, reading):
    """Version -> what an adapter says when nothing else is asked of the engine."""

    async def answers(*specs, **fields):
        engine = await start([replace(spec, name=f"n{index}") for index, spec in enumerate(specs)])
        return {
            spec.version: tokens_of(await reading(engine, asking(adapter=f"n{index}", **fields)))
            for index, spec in enumerate(specs)
        }

    return answers


async def serve(engine, spec, pinned=False):
    """Hold a version, and let its name stand for it alone."""
    live = dict((await engine.info()).adapters)
    await engine.add_version(spec)
    if pinned:
        await engine.pin_version(spec.version, True)
    await engine.set_live(live | {spec.name: spec.version})
    if live.get(spec.name, spec.version) != spec.version:
        await engine.drop_version(spec.name, live[spec.name])


async def pin(engine, name, pinned):
    await engine.pin_version((await engine.info()).adapters[name], pinned)


async def remove(engine, name):
    await engine.drop_version(name, (await engine.info()).adapters[name])


async def check_books(engine):
    """Once the engine is idle, nothing has leaked."""
    loop = engine._running.loop
    for _ in range(2000):  # the end of an answer is told before its row is free
        if loop._scheduler.idle:
            break
        await asyncio.sleep(0.002)
    loop._scheduler.check()
    loop._adapters.check([])


async def test_adapter_that_is_added_is_served_from_then_on(start, old, alone, asking, reading):
    engine = await start()
    with pytest.raises(ModelNotFound, match="'law'; this engine has: legal"):
        await reading(engine, asking(adapter="law"))
    await serve(engine, old)
    assert set((await engine.info()).adapters) == {"legal", "law"}
    deltas = await reading(engine, asking(adapter="law", max_tokens=6))
    assert {old.version: tokens_of(deltas)} == await alone(old, max_tokens=6) and versions_of(deltas) == {old.version}


async def test_calls_keep_the_version_they_began_with(start, old, new, alone, asking, reading, beginning, stopped):
    engine = await start([old], max_rows=2)
    expected = await alone(old, new, max_tokens=9)
    with stopped(engine):
        early = [await beginning(engine, asking(call_id=f"{n}", adapter="law", max_tokens=9)) for n in range(4)]
        await serve(engine, new)
        assert (await engine.info()).adapters == {"law": new.version}
        late = [await beginning(engine, asking(call_id=f"{n}", adapter="law", max_tokens=9)) for n in range(4, 8)]
    for begun, spec in ((early, old), (late, new)):
        for deltas in await asyncio.gather(*begun):
            assert versions_of(deltas) == {spec.version} and tokens_of(deltas) == expected[spec.version]
    assert set(engine._specs) == {new.version}, "nothing uses the old version any more"
    await check_books(engine)


async def test_adapter_that_is_removed_answers_the_calls_it_has(start, old, alone, asking, reading, beginning, stopped):
    engine = await start([old], max_rows=2)
    with stopped(engine):
        begun = [await beginning(engine, asking(call_id=f"{n}", adapter="law", max_tokens=9)) for n in range(4)]
        await remove(engine, "law")
        with pytest.raises(ModelNotFound, match="'law'; this engine has: none"):
            await reading(engine, asking(adapter="law"))
    [expected] = (await alone(old, max_tokens=9)).values()
    assert [tokens_of(deltas) for deltas in await asyncio.gather(*begun)] == [expected] * 4
    info = await engine.info()
    assert not info.adapters and not info.resident_adapters and not engine._specs
    await check_books(engine)
    await serve(engine, old)
    assert tokens_of(await reading(engine, asking(adapter="law", max_tokens=9))) == expected


async def test_nobody_is_lost_while_versions_come_and_go(start, old, new, alone, asking, reading):
    engine = await start([old], max_rows=3, adapter_slots=2)
    expected = await alone(old, new, max_tokens=5)
    refused = 0

    async def ask_again_and_again(name):
        nonlocal refused
        for turn in range(10):
            try:
                deltas = await reading(engine, asking(call_id=f"{name}-{turn}", adapter="law", max_tokens=5))
            except ModelNotFound:
                refused += 1
                await asyncio.sleep(0)
                continue
            [version] = versions_of(deltas)
            assert tokens_of(deltas) == expected[version]

    async def change():
        for turn in range(30):
            await serve(engine, (new, old)[turn % 2], pinned=turn % 3 == 0)
            if turn % 5 == 4:
                await remove(engine, "law")
                await asyncio.sleep(0)
        await serve(engine, new)

    async with asyncio.timeout(60):
        await asyncio.gather(change(), *(ask_again_and_again(name) for name in "abcde"))
    assert refused < 50, "some were answered"
    assert (await engine.info()).adapters == {"law": new.version} and set(engine._specs) == {new.version}
    await check_books(engine)


async def test_more_adapters_than_slots_are_all_answered_each_by_itself(start, many, alone, asking, reading):
    engine = await start(many, adapter_slots=2, max_rows=4)
    expected = await alone(*many, max_tokens=6)
    calls = [
        asking(call_id=f"{turn}-{spec.name}", adapter=spec.name, max_tokens=6) for turn in range(3) for spec in many
    ]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(reading(engine, call) for call in calls), reading(engine, asking()))
    for deltas, spec in zip(answers, many * 3, strict=False):
        assert versions_of(deltas) == {spec.version} and tokens_of(deltas) == expected[spec.version]
    info = await engine.info()
    assert len(info.adapters) == 9 and len(info.resident_adapters) == 2
    await check_books(engine)


async def test_least_recently_used_adapter_makes_room_and_a_pinned_one_does_not(start, many, asking, reading):
    engine = await start(many[:5], adapter_slots=2)
    for name, resident in (("a0", {"a0"}), ("a1", {"a0", "a1"}), ("a0", {"a0", "a1"}), ("a2", {"a0", "a2"})):
        await reading(engine, asking(adapter=name, max_tokens=2))
        assert resident <= set((await engine.info()).resident_adapters)
    await pin(engine, "a0", True)
    for name in ("a3", "a4", "a2"):
        await reading(engine, asking(adapter=name, max_tokens=2))
        assert set((await engine.info()).resident_adapters) == {"a0", name}
    await pin(engine, "a0", False)
    for name in ("a3", "a4"):
        await reading(engine, asking(adapter=name, max_tokens=2))
    assert set((await engine.info()).resident_adapters) == {"a3", "a4"}


async def test_pins_take_no_more_than_the_slots_and_an_adapter_without_room_says_so(start, many, asking, reading):
    engine = await start(many[:3], adapter_slots=2)
    for name in ("a0", "a1"):
        await pin(engine, name, True)
    with pytest.raises(AdapterError, match="all 2 adapter slots are kept for pinned adapters"):
        await pin(engine, "a2", True)
    with pytest.raises(AdapterError, match=r"has no place: .* unpin one or give the engine more slots"):
        await reading(engine, asking(adapter="a2"))
    await pin(engine, "a0", False)
    assert await reading(engine, asking(adapter="a2", max_tokens=2))
    with pytest.raises(ModelNotFound, match="never added"):
        await engine.pin_version(many[7].version, True)
    await engine.drop_version("a7", many[7].version)
    assert set((await engine.info()).adapters) == {"a0", "a1", "a2"}


async def test_one_folder_under_two_names_is_one_version_that_stays_while_either_name_does(start, old, asking, reading):
    engine = await start([old, replace(old, name="other")])
    assert set((await engine.info()).resident_adapters) <= {"law", "other"}
    await remove(engine, "law")
    assert versions_of(await reading(engine, asking(adapter="other", max_tokens=3))) == {old.version}
    assert (await engine.info()).resident_adapters == ("other",)


async def test_new_version_of_a_pinned_adapter_takes_over_its_pin_though_all_slots_are_pinned(
    start, many, asking, reading
):
    engine = await start(many[:2], adapter_slots=2)
    for name in ("a0", "a1"):
        await pin(engine, name, True)
    await serve(engine, replace(many[2], name="a0"), pinned=True)
    answer = await reading(engine, asking(adapter="a0", max_tokens=2))
    assert answer[-1].adapter_version == many[2].version
    assert set((await engine.info()).resident_adapters) == {"a0", "a1"}
    with pytest.raises(AdapterError, match="all 2 adapter slots are kept for pinned adapters"):
        await serve(engine, many[3], pinned=True)


async def test_calls_may_name_any_version_that_is_held_and_the_live_one_is_for_those_that_name_none(
    start, old, new, alone, asking, reading
):
    engine = await start([old])
    expected = await alone(old, new, max_tokens=5)
    await engine.add_version(new)
    for version in (None, old.version, new.version):
        deltas = await reading(engine, replace(asking(adapter="law", max_tokens=5), adapter_version=version))
        wanted = version or old.version
        assert versions_of(deltas) == {wanted} and tokens_of(deltas) == expected[wanted]
    await engine.set_live({"law": new.version})
    assert versions_of(await reading(engine, asking(adapter="law", max_tokens=2))) == {new.version}
    assert versions_of(
        await reading(engine, replace(asking(adapter="law", max_tokens=2), adapter_version=old.version))
    ) == {old.version}


async def test_prompt_is_not_reused_between_versions(start, old, new, asking, reading):
    engine = await start([old])
    await engine.add_version(new)
    for version, cached in ((old.version, False), (new.version, False), (old.version, True)):
        call = replace(asking("word " * 20, adapter="law", max_tokens=2), adapter_version=version)
        assert ((await reading(engine, call))[-1].usage.cached_tokens > 0) is cached


async def test_pinned_version_is_resident_before_it_is_live(start, many, asking, reading):
    engine = await start(many[:2], adapter_slots=3)
    await engine.pin_version(many[0].version, True)
    loop = engine._running.loop
    for seed in (2, 3, 4):
        spec = replace(many[seed], name="a0")
        before = (await engine.info()).adapters["a0"]
        await engine.add_version(spec)
        await engine.pin_version(spec.version, True)
        assert loop.residence(spec.version).state == loop.residence(before).state == "resident"
        await engine.set_live({"a0": spec.version, "a1": many[1].version})
        await engine.pin_version(before, False)
        await engine.drop_version("a0", before)
    await check_books(engine)


async def test_version_that_cannot_be_loaded_is_not_pinned(start, many, monkeypatch):
    engine = await start(many[:1])

    def refuse(slot, version):
        engine._running.loop._adapters.failed(slot, version, AdapterError("its files are gone"))

    monkeypatch.setattr(engine._running.loop._adapters, "_request_load", refuse)
    with pytest.raises(AdapterError, match="its files are gone"):
        await engine.add_version(many[1])
        await engine.pin_version(many[1].version, True)
    assert not engine._running.loop.residence(many[1].version).pinned
