"""Keys in the database: made once, shown once, revoked for good."""

import doctest
import importlib

import pytest
from sqlalchemy import select

from serve_app.config.budgets import Limit
from serve_app.core import LedgerError, RequestError
from serve_app.keys import Key, KeySnapshot, digest_of
from serve_app.keys.tables import api_keys

ADA = Key(
    "ada",
    role="admin",
    models=("auto", "legal"),
    limits=(Limit(per="day", usd="2.50"), Limit(per="minute", tokens=1000)),
    semantic_cache=True,
    store_texts=True,
    priority=True,
)


@pytest.mark.parametrize("module", ["keys.key", "keys.secret", "cli.keys", "gateway.auth"])
def test_worked_values_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


async def test_a_key_comes_back_with_all_its_rights(store):
    secret = await store.create(ADA)
    (record,) = (await store.keys()).records
    assert record.key == ADA
    assert (record.digest, record.created_at_s, record.revoked_at_s) == (digest_of(secret.encode()), 1000.0, None)


async def test_the_key_itself_is_nowhere_in_the_database(store):
    secret = await store.create(ADA)
    rows = await store._store.read(lambda connection: connection.execute(select(api_keys)).all())
    assert secret.removeprefix("hr-") not in str(rows)


async def test_every_key_is_another(store):
    assert len({await store.create(Key(f"k{index}")) for index in range(20)}) == 20


async def test_a_revoked_key_is_listed_counted_and_not_valid(store):
    await store.create(ADA)
    await store.create(Key("bob"))
    for _ in range(2):
        await store.revoke("ada")
    snapshot = await store.keys()
    assert ([record.key.key_id for record in snapshot.records], snapshot.num_revoked) == (["bob"], 1)
    assert [(record.key.key_id, record.revoked_at_s) for record in await store.all()] == [
        ("ada", 1000.0),
        ("bob", None),
    ]


async def test_a_name_is_given_once_even_after_it_was_revoked(store):
    await store.create(ADA)
    with pytest.raises(RequestError, match="exists"):
        await store.create(Key("ada"))
    await store.revoke("ada")
    with pytest.raises(RequestError, match="was revoked"):
        await store.create(Key("ada"))


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a/b", "ä", "x" * 65])
async def test_a_name_that_is_none_is_refused(store, name):
    with pytest.raises(RequestError, match="no name for a key"):
        await store.create(Key(name))
    assert await store.keys() == KeySnapshot()


async def test_an_unknown_name_cannot_be_revoked(store):
    with pytest.raises(RequestError, match="no key 'ada'"):
        await store.revoke("ada")


async def test_a_closed_database_is_a_ledger_error(store):
    await store._store.close()
    with pytest.raises(LedgerError):
        await store.keys()
