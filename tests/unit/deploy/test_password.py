"""The ledger's password need not stand in a settings file: PostgreSQL's library reads it from where it always does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from bench.postgres import private_cluster, server_programs
from serve_app.store import Store, StoreError

PASSWORD = "a pass:word"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a database whose user must give a password."""
    psycopg = pytest.importorskip("psycopg")
    if server_programs() is None:
        pytest.skip("no PostgreSQL server is installed; apt-get install postgresql")
    with private_cluster(durable=False) as cluster:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE headrace LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE headrace OWNER headrace")
            (rules,) = connection.execute("SHOW hba_file").fetchone()
            lines = ("headrace 127.0.0.1/32 scram-sha-256", "postgres 127.0.0.1/32 trust")
            Path(rules).write_text("".join(f"host all {line}\n" for line in lines))
            connection.execute("SELECT pg_reload_conf()")
        yield f"postgresql://headrace@127.0.0.1:{cluster.port}/headrace"


async def who_is_in(url: str) -> str:
    store = Store(url)
    await store.open()
    try:
        return str(await store.read(lambda connection: connection.execute(text("SELECT current_user")).scalar_one()))
    finally:
        await store.close()


async def test_without_a_password_the_database_lets_nobody_in(url: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with pytest.raises(StoreError):
        await who_is_in(url)


async def test_the_password_comes_from_the_environment(url: str, monkeypatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert await who_is_in(url) == "headrace"


async def test_the_password_comes_from_the_password_file(url: str, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:headrace:headrace:{PASSWORD.replace(':', chr(92) + ':')}\n")
    file.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert await who_is_in(url) == "headrace"
