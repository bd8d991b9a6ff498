"""What the registry does on its own: settings' adapters come in, their files are published, old ones deleted."""

import asyncio
import shutil
import time

import pytest

from serve_app.adapters import content_digest
from serve_app.adapters.registry import AdapterRegistry
from serve_app.adapters.registry.upkeep import RegistryUpkeep
from serve_app.adapters.registry.verifying import ArtefactLimits
from serve_app.config.nodes import AdapterSource
from serve_app.store import Store

from ..conftest import BASE_DIGEST

LIMITS = ArtefactLimits(2**20, 16)
DAY_S = 86_400.0


@pytest.fixture
async def registry(tmp_path):
    store = Store(str(tmp_path / "r.sqlite3"))
    await store.open()
    yield AdapterRegistry(store)
    await store.close()


@pytest.fixture
def upkeep(registry, open_store):
    """`upkeep({"name": folder})`, over the folder `store`."""

    def upkeep(folders, uri=None, retention_days=30, clock=time.time):
        sources = {name: AdapterSource(path=str(folder)) for name, folder in folders.items()}
        return RegistryUpkeep(registry, open_store(uri), sources, LIMITS, retention_days, clock)

    return upkeep


async def live(registry):
    return {one.name: one.live for one in (await registry.snapshot()).adapters}


async def test_settings_adapters_are_live_and_their_files_published(registry, upkeep, open_store, make_adapter, base):
    folder = make_adapter(manifest={"base_digest": BASE_DIGEST})
    digest = content_digest(folder)
    work = upkeep({"tiny": folder})
    await work.seed(base)
    assert await live(registry) == {"tiny": digest[:12]}
    (version,) = await registry.all()
    assert (version.created_by, version.source, version.base_verified) == ("settings", "settings", True)
    await work.publish()
    assert await open_store().holds(digest)
    revision = (await registry.snapshot()).revision
    await upkeep({"tiny": folder}).seed(base)  # a restart
    assert (await registry.snapshot()).revision == revision


async def test_new_files_under_a_name_are_live_and_a_rollback_has_the_old_ones(
    registry, upkeep, open_store, make_adapter, base
):
    folder = make_adapter()
    old = content_digest(folder)
    first = upkeep({"tiny": folder})
    await first.seed(base)
    await first.publish()
    (folder / "headrace.json").write_text('{"description": "newer"}')
    await upkeep({"tiny": folder}).seed(base)
    assert await live(registry) == {"tiny": content_digest(folder)[:12]}
    await registry.rollback("tiny", "ada")
    assert content_digest(await open_store(node="b").fetch(old)) == old


async def test_what_cannot_be_read_here_is_left_out_and_said(registry, upkeep, make_adapter, base, caplog, tmp_path):
    bad = make_adapter("bad", config={"use_dora": True})
    await upkeep({"bad": bad, "gone": tmp_path / "nowhere", "good": make_adapter("good")}).seed(base)
    assert list(await live(registry)) == ["good"]
    assert "DoRA" in caplog.text
    assert "nowhere is no folder" in caplog.text


async def test_a_store_that_is_away_holds_nothing_up(registry, upkeep, open_store, make_adapter, base, scripted):
    folder = make_adapter()
    work = upkeep({"tiny": folder}, "scripted://store")
    scripted.reset(failing=0)
    await work.seed(base)
    await work.publish()
    await work.tidy()
    assert list(await live(registry)) == ["tiny"]
    scripted.reset()
    await work.publish()
    assert await open_store("scripted://store").holds(content_digest(folder))


async def test_files_of_versions_long_retired_are_deleted(registry, upkeep, open_store, make_adapter, base, tmp_path):
    digests = []
    folder = make_adapter()
    for text in "abc":
        (folder / "headrace.json").write_text(f'{{"description": "{text}"}}')
        work = upkeep({"tiny": folder})
        await work.seed(base)
        await work.publish()
        digests.append(content_digest(folder))
    later = upkeep({}, clock=lambda: time.time() + 31 * DAY_S)
    await later.tidy()
    assert await open_store().holds(digests[0])  # put less than an hour ago
    import os

    for path in (tmp_path / "store").rglob("COMPLETE"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    await later.tidy()
    assert [await open_store().holds(digest) for digest in digests] == [False, True, True]
    assert await registry.release(0) == ()
    shutil.rmtree(folder)


async def test_what_was_removed_is_not_published_again(registry, upkeep, open_store, make_adapter, base):
    folder = make_adapter()
    await upkeep({"tiny": folder}).seed(base)
    await registry.remove("tiny", "ada")
    work = upkeep({"tiny": folder})
    await work.seed(base)
    await work.publish()
    assert not await open_store().holds(content_digest(folder))


async def test_no_retention_deletes_nothing(registry, upkeep, open_store, make_adapter, base):
    folder = make_adapter()
    await upkeep({"tiny": folder}).seed(base)
    await upkeep({"tiny": folder}).publish()
    await upkeep({}, retention_days=None, clock=lambda: time.time() + 1e9).tidy()
    assert await registry.release(0) == ()


async def test_it_runs_until_it_is_cancelled(registry, upkeep, open_store, make_adapter, base):
    folder = make_adapter()
    work = upkeep({"tiny": folder})
    await work.seed(base)
    running = asyncio.create_task(work.run())
    while not await open_store().holds(content_digest(folder)):
        pass
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
