"""The store: created once, upgraded once, one writer, readers beside it."""

import asyncio
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from serve_app.core import ConfigError
from serve_app.store import Store, StoreError, engines, migrate

NEWEST = "0006"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder that is not there 100%" / "store.sqlite3"


async def open_store(file: Path, **more: bool) -> Store:
    store = Store(str(file), **more)
    await store.open()
    return store


def pragma(name: str):
    return lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar_one()


async def test_opening_makes_folder_file_and_tables(file):
    store = await open_store(file)
    assert await store.read(migrate.current_revision) == NEWEST
    await store.close()


async def test_the_writer_is_durable_and_readers_cannot_write(file):
    store = await open_store(file)
    assert await store.write(pragma("journal_mode")) == "wal"
    assert await store.write(pragma("synchronous")) == 2  # FULL
    assert await store.read(pragma("query_only")) == 1
    await store.close()


async def test_writes_run_in_one_thread_in_order_and_reads_elsewhere(file):
    store = await open_store(file)
    seen: list[int] = []
    names = await asyncio.gather(
        *(store.write(lambda _, i=i: (seen.append(i), threading.current_thread().name)[1]) for i in range(20)),
    )
    assert seen == list(range(20))
    assert set(names) == {"store-write_0"}
    assert (await store.read(lambda _: threading.current_thread().name)).startswith("store-read")
    await store.close()


async def test_an_error_rolls_the_transaction_back(file):
    store = await open_store(file)

    def work(connection):
        connection.execute(text("CREATE TABLE half (x)"))
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await store.write(work)
    assert "half" not in await store.read(lambda c: c.execute(text("SELECT name FROM sqlite_master")).scalars().all())
    await store.close()


async def test_a_reader_does_not_wait_for_the_writer(file):
    store = await open_store(file)
    release = threading.Event()
    writing = asyncio.ensure_future(store.write(lambda _: release.wait(5)))
    async with asyncio.timeout(2):
        assert await store.read(migrate.current_revision) == NEWEST
    release.set()
    assert await writing
    await store.close()


async def test_many_openers_of_a_new_file_upgrade_it_once(file):
    stores = [Store(str(file)) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    revisions = await stores[0].read(
        lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    )
    assert revisions == [NEWEST]
    await asyncio.gather(*(store.close() for store in stores))


async def test_opening_again_keeps_the_data(file):
    store = await open_store(file)
    await store.write(lambda c: c.execute(text("CREATE TABLE mine (x)")))
    await store.close()
    store = await open_store(file)
    assert await store.read(lambda c: c.execute(text("SELECT count(*) FROM mine")).scalar_one()) == 0
    await store.close()


async def test_an_upgrade_that_fails_leaves_the_old_schema(file, monkeypatch):
    def breaks(*_: object) -> None:
        raise RuntimeError("half way")

    monkeypatch.setattr("alembic.op.create_index", breaks)
    store = Store(str(file))
    with pytest.raises(RuntimeError, match="half way"):
        await store.open()
    await store.close()
    monkeypatch.undo()
    store = await open_store(file)
    assert await store.read(migrate.current_revision) == NEWEST
    await store.close()


async def test_a_database_of_a_newer_version_is_refused(file):
    store = await open_store(file)
    await store.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    await store.close()
    for read_only in (False, True):
        newer = Store(str(file), read_only=read_only)
        with pytest.raises(StoreError, match="has schema 9999"):
            await newer.open()
        await newer.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("these are notes, not a database" * 100)
    for read_only in (False, True):
        store = Store(str(tmp_path / "notes.txt"), read_only=read_only)
        with pytest.raises(StoreError, match="is not an SQLite database; give another file"):
            await store.open()
        await store.close()


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(str(tmp_path / "file" / "store.sqlite3"))
    with pytest.raises(StoreError, match=r"cannot be opened .* check the folder and its permissions"):
        await store.open()
    await store.close()


async def test_a_lock_of_another_process_is_named(file, monkeypatch):
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MS", 20)
    store = await open_store(file)
    holder = sqlite3.connect(file)  # SQLite locks by connection, so this is as good as another process
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="is locked by another process"):
        await store.write(lambda _: None)
    holder.close()
    await store.write(lambda _: None)
    await store.close()


async def test_read_only_makes_nothing(file):
    with pytest.raises(StoreError, match="There is no database file"):
        await open_store(file, read_only=True)
    assert not file.parent.exists()


def test_a_missing_postgres_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"install headrace\[postgres\]"):
        Store("postgresql://ada@db/ledger")
