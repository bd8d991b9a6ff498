"""A gateway that follows the adapter registry."""

import asyncio
from dataclasses import replace

from serve_app.adapters.registry import RegistrySnapshot, ServedAdapter
from serve_app.adapters.registry.kept import KeptSnapshot
from serve_app.core import LedgerError, Message, Query, SamplingParams
from serve_app.gateway import AdapterBook

QUERY = Query("q1", "legal", SamplingParams(), (Message("user", "hi"),))
LEGAL = ServedAdapter("legal", live="v1")


class Registry:
    """A `RegistrySource` that says what it is told to."""

    def __init__(self, *adapters):
        self.snapshot = RegistrySnapshot(1, adapters)
        self.broken = False

    def change(self, *adapters):
        self.snapshot = RegistrySnapshot(self.snapshot.revision + 1, adapters)

    async def adapters_since(self, revision):
        if self.broken:
            raise LedgerError("The database is away.")
        return None if revision == self.snapshot.revision else self.snapshot


def make(registry, clock=lambda: 0.0):
    return AdapterBook(("legal", "code"), registry, 0.01, clock=clock)


async def test_until_the_registry_is_read_the_settings_count():
    registry = Registry(LEGAL)
    registry.broken = True
    book = make(registry)
    await book.begin(0)
    assert list(book.names) == ["legal", "code"]
    assert book.version("legal", QUERY) is None
    assert isinstance(book.last_error, LedgerError)


async def test_a_new_gateway_starts_from_the_copy_while_the_ledger_is_away(tmp_path):
    kept, registry = KeptSnapshot(tmp_path / "adapters.json"), Registry(LEGAL)
    before = AdapterBook((), registry, kept=kept)
    await before.refresh()
    registry.broken = True
    book = AdapterBook((), registry, 0.01, kept=kept)
    await book.begin(0)
    assert book.version("legal", QUERY) == "v1"
    registry.broken = False
    registry.change(replace(LEGAL, live="v2"))
    await book.refresh()
    assert book.version("legal", QUERY) == "v2"


async def test_the_copy_has_what_an_admin_page_told_first(tmp_path):
    kept, registry = KeptSnapshot(tmp_path / "adapters.json"), Registry(LEGAL)
    book = AdapterBook((), registry, kept=kept)
    await book.refresh()
    registry.change(replace(LEGAL, live="v2"))
    book.take(registry.snapshot)
    await book.refresh()
    assert kept.load().snapshot == registry.snapshot


async def test_an_adapter_of_the_settings_that_the_registry_never_saw_stays():
    book = make(Registry(LEGAL, ServedAdapter("support", live=None)))
    await book.refresh()
    assert list(book.names) == ["code", "legal"]
    assert book.version("code", QUERY) is None


async def test_names_are_those_with_a_live_version():
    book = make(Registry(LEGAL, ServedAdapter("code", live=None)))
    await book.refresh()
    assert list(book.names) == ["legal"]
    assert book.version("legal", QUERY) == "v1"


async def test_it_follows_every_change_and_keeps_what_it_has_while_the_registry_is_away():
    registry = Registry(LEGAL)
    book = make(registry)
    changed = asyncio.Event()
    book.watch(lambda snapshot: changed.set())
    following = asyncio.create_task(book.run())
    await asyncio.wait_for(changed.wait(), 30)
    changed.clear()
    registry.change(replace(LEGAL, live="v2"), ServedAdapter("finance", live="f1"))
    await asyncio.wait_for(changed.wait(), 30)
    registry.broken = True
    await book.refresh()
    assert list(book.names) == ["code", "finance", "legal"]
    assert book.version("legal", QUERY) == "v2"
    following.cancel()


async def test_a_snapshot_that_was_overtaken_on_its_way_is_not_gone_back_to():
    registry, later = Registry(LEGAL), RegistrySnapshot(3, (replace(LEGAL, live="v3"),))
    book = make(registry)
    await book.refresh()
    registry.change(replace(LEGAL, live="v2"))
    answer = registry.adapters_since

    async def slow(revision):
        found = await answer(revision)
        book.take(later)  # what an admin page was told meanwhile
        return found

    registry.adapters_since = slow
    await book.refresh()
    assert book.version("legal", QUERY) == "v3"
    book.take(registry.snapshot)
    assert book.version("legal", QUERY) == "v3"


async def test_a_database_that_was_restored_is_followed_back():
    registry = Registry(LEGAL)
    book = make(registry)
    book.take(RegistrySnapshot(5, (replace(LEGAL, live="v5"),)))
    await book.refresh()
    assert (book.version("legal", QUERY), book.snapshot.revision) == ("v1", 1)


async def test_a_query_keeps_the_version_it_was_given():
    registry, now_s = Registry(replace(LEGAL, canary="v2", canary_weight=0.0)), [0.0]
    book = make(registry, lambda: now_s[0])
    await book.refresh()
    registry.change(replace(LEGAL, canary="v2", canary_weight=1.0))
    await book.refresh()
    assert book.version("legal", QUERY, before="v1") == "v1"
    assert book.version("legal", QUERY) == "v2"
    registry.change(replace(LEGAL, live="v2"))
    await book.refresh()
    assert book.version("legal", QUERY, before="v1") == "v1", "engines still hold it"
    now_s[0] = 25.0
    assert book.version("legal", QUERY, before="v1") == "v2", "engines may have dropped it"


async def test_a_removed_adapter_answers_what_was_begun():
    registry = Registry(LEGAL)
    book = make(registry)
    await book.refresh()
    registry.change(replace(LEGAL, live=None))
    await book.refresh()
    assert list(book.names) == ["code"]
    assert book.version("legal", QUERY, before="v1") == "v1"


async def test_of_an_adapter_with_a_canary_the_version_of_the_conversation_is_told_beforehand():
    book = make(Registry(LEGAL, ServedAdapter("code", live="c1", canary="c2", canary_weight=1.0)))
    await book.refresh()
    assert book.tried(QUERY) == {"code": "c2"}
