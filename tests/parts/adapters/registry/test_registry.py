"""The registry over a database: it does what the functions say, on SQLite and PostgreSQL, and stays whole."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import event, text

from serve_app.adapters.registry import AdapterRegistry, RegistrySnapshot, lifecycle
from serve_app.adapters.registry.lifecycle import Adapter, Moment
from serve_app.core import LedgerError, ModelNotFound, RequestError
from serve_app.store import Store
from tests.unit.adapters.registry.operations import NAMES, OPERATIONS, act, run, short, version


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    return str(tmp_path / "r.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def store(url):
    opened = Store(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def registry(store) -> AdapterRegistry:
    return AdapterRegistry(store, clock=lambda: 1000.0)


async def live(registry: AdapterRegistry, digit: str) -> None:
    await registry.add(version(digit))
    await registry.promote("legal", short(digit), "ada")


async def test_a_version_lives_from_add_to_remove(registry):
    assert await registry.snapshot() == RegistrySnapshot()
    await live(registry, "0")
    assert await registry.add(version("1", "verified", report={"rank": 8})) == version(
        "1", "verified", report={"rank": 8}
    )
    assert (await registry.snapshot()).adapters[0].versions[0].version == short("0")  # engines hold no verified one
    assert (await registry.add(version("1"))).state == "staged"
    snapshot = await registry.canary("legal", short("1"), 0.25, "bob")
    assert (snapshot.adapters[0].canary, snapshot.adapters[0].canary_weight) == (short("1"), 0.25)
    snapshot = await registry.promote("legal", None, "canary", "surely better")
    assert (snapshot.adapters[0].live, snapshot.adapters[0].canary) == (short("1"), None)
    snapshot = await registry.rollback("legal", "bob")
    assert snapshot.adapters[0].live == short("0")
    assert (await registry.pin("legal", True, "bob")).adapters[0].pinned
    snapshot = await registry.remove("legal", "bob")
    assert (snapshot.adapters[0].live, snapshot.adapters[0].versions) == (None, ())
    assert [(one.version, one.state) for one in await registry.all("legal")] == [
        (short("1"), "retired"),
        (short("0"), "retired"),
    ]
    lines = await registry.audit(100)
    assert [line.action for line in reversed(lines)] == [
        "add", "promote", "add", "stage", "canary", "promote", "rollback", "pin", "remove",
    ]  # fmt: skip
    assert (lines[3].actor, lines[3].detail, lines[3].at_s) == ("canary", "surely better", 1000.0)


async def test_followers_get_what_is_new_and_nothing_else(registry):
    await live(registry, "0")
    snapshot = await registry.snapshot()
    assert await registry.adapters_since(-1) == snapshot
    assert await registry.adapters_since(snapshot.revision) is None
    assert await registry.adapters_since(snapshot.revision - 1) == snapshot
    assert await registry.adapters_since(snapshot.revision + 7) == snapshot  # the database was restored


async def test_what_changes_nothing_leaves_no_trace(registry):
    await live(registry, "0")
    snapshot, lines = await registry.snapshot(), await registry.audit(100)
    stored = await registry.add(version("0", source="elsewhere", created_by="bob"))
    assert (stored.state, stored.source) == ("live", "upload")
    await registry.promote("legal", short("0"), "ada")
    await registry.pin("legal", False, "ada")
    with pytest.raises(RequestError):
        await registry.rollback("legal", "ada")
    assert (await registry.snapshot(), await registry.audit(100)) == (snapshot, lines)


async def test_a_rejected_version_is_kept_for_its_reason_and_served_nowhere(registry):
    await registry.add(version("0", "rejected", report={"reason": "It holds NaN."}))
    assert (await registry.snapshot()).adapters == ()
    assert (await registry.all())[0].report == {"reason": "It holds NaN."}
    assert (await registry.audit(1))[0].action == "reject"


async def test_settings_seed_what_was_never_seen(registry):
    first, other = version("0", created_by="settings"), version("3", name="code", created_by="settings")
    await registry.seed([first, other])
    snapshot = await registry.snapshot()
    assert [(one.name, one.live) for one in snapshot.adapters] == [("code", short("3")), ("legal", short("0"))]
    await registry.seed([first, other])  # a restart
    assert await registry.snapshot() == snapshot
    await live(registry, "1")
    await registry.remove("code", "ada")
    await registry.seed([first, other])  # what was promoted and removed stays so
    assert [(one.name, one.live) for one in (await registry.snapshot()).adapters] == [
        ("code", None),
        ("legal", short("1")),
    ]
    await registry.seed([version("2", created_by="settings")])  # new files under a name of the settings
    assert (await registry.snapshot()).adapters[1].live == short("2")
    assert {line.actor for line in await registry.audit(100)} == {"settings", "ada"}


async def test_the_audit_log_is_read_page_by_page_and_by_name(registry):
    await live(registry, "0")
    await registry.add(version("1", name="code"))
    assert [line.revision for line in await registry.audit(2)] == [3, 2]
    assert [line.revision for line in await registry.audit(2, before_revision=2)] == [1]
    assert [line.revision for line in await registry.audit(9, name="code")] == [3]
    with pytest.raises(RequestError, match="limit is 0"):
        await registry.audit(0)


async def test_names_and_versions_are_checked_at_the_door(registry):
    for name in ("auto", "No Such", ""):
        with pytest.raises(RequestError) as raised:
            await registry.add(version("0", name=name))
        assert raised.value.param == "name"
    with pytest.raises(RequestError, match="sha256"):
        await registry.add(version("0").__class__(**{**fields_of(version("0")), "version": "v1"}))
    with pytest.raises(ModelNotFound):
        await registry.promote("legal", None, "ada")


async def test_a_report_is_plain_json_of_bounded_size(registry):
    for report in ({"loss": float("nan")}, {"path": Path("x")}, {"text": "x" * 300_000}):
        with pytest.raises(RequestError) as raised:
            await registry.add(version("0", report=report))
        assert raised.value.param == "report"


def fields_of(one):
    return {name: getattr(one, name) for name in one.__slots__}


async def test_files_are_released_once_and_a_version_that_comes_again_keeps_its_own(registry):
    for digit in "012":
        await live(registry, digit)
    assert await registry.release(retired_before_s=1000.0) == ()
    assert await registry.release(retired_before_s=1001.0) == ("0" * 64,)
    assert await registry.release(retired_before_s=0.0) == ("0" * 64,)  # until `released` says that they are gone
    await registry.add(version("0"))
    await registry.released("0" * 64)  # too late: it is there again
    assert await registry.release(retired_before_s=0.0) == ()
    await registry.promote("legal", short("0"), "ada")
    assert (await registry.snapshot()).adapters[0].live == short("0")


async def test_an_error_in_the_middle_of_a_change_leaves_all_as_it_was(registry, store, monkeypatch):
    await live(registry, "0")
    before = await registry.snapshot(), await registry.all(), await registry.audit(100)
    for statement in ("adapter_versions", "adapter_names", "adapter_audit", "adapter_revision"):

        def fail(connection, cursor, sql, *rest, table=statement):
            if sql.startswith(("INSERT", "UPDATE")) and table in sql:
                raise RuntimeError("pulled the plug")

        event.listen(store._writer_engine, "before_cursor_execute", fail)
        with pytest.raises(RuntimeError, match="plug"):
            await registry.add(version("1"))
        event.remove(store._writer_engine, "before_cursor_execute", fail)
        assert (await registry.snapshot(), await registry.all(), await registry.audit(100)) == before
    assert (await registry.add(version("1"))).state == "staged"


async def test_the_database_itself_refuses_a_second_live_version(registry, store):
    await live(registry, "0")
    await registry.add(version("1"))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(lambda c: c.execute(text("UPDATE adapter_versions SET state = 'live'")))


async def test_two_writers_take_turns(url, registry):
    other_store = Store(url)
    await other_store.open()
    other = AdapterRegistry(other_store)
    added = [
        (registry, other)[index % 2].add(version(digit, name=f"a{index}"))
        for index, digit in enumerate("0123456789abcdef")
    ]
    await asyncio.gather(*added)
    assert sorted(line.revision for line in await other.audit(100)) == list(range(1, 17))
    await other_store.close()


async def test_a_database_that_is_away_is_an_error_of_the_ledger(registry, store):
    await store.close()
    with pytest.raises(LedgerError, match="closed"):
        await registry.snapshot()
    with pytest.raises(LedgerError, match="closed"):
        await registry.add(version("0"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_the_database_agrees_with_the_functions(operations):
    asyncio.run(compare(operations))


async def compare(operations) -> None:
    adapters, revision = {name: Adapter(name) for name in NAMES}, 0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "r.sqlite3"))
        await store.open()
        registry = AdapterRegistry(store, clock=lambda: 5.0)
        entries = []
        for operation in operations:
            with contextlib.suppress(RequestError):
                step = act(operation)(adapters[operation[1]], Moment(revision + 1, 5.0, "ada"))
                if step is not None:
                    revision, adapters[operation[1]] = revision + 1, step.adapter
                    entries.append(step.entry)
            with contextlib.suppress(RequestError):
                await run(registry, operation)
        snapshot = await registry.snapshot()
        assert snapshot.revision == revision
        assert list(reversed(await registry.audit(1000))) == entries
        for adapter in adapters.values():
            assert await registry.all(adapter.name) == tuple(one.version for one in reversed(adapter.versions))
            if any(one.state != "rejected" for one in adapter.versions):
                assert lifecycle.served(adapter) in snapshot.adapters
        await store.close()
