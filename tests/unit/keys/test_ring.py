"""The keys that a gateway knows, and how it follows changes."""

import asyncio

import pytest

from serve_app.core import ConfigError, LedgerError
from serve_app.keys import Key, KeyRecord, KeyRing, KeySnapshot, NotPermitted, digest_of

OWN = {"api_keys": {"ada": "key-of-ada"}, "admin_keys": {"root": "key-of-root"}}


def snapshot(*keys: Key, num_revoked: int = 0) -> KeySnapshot:
    """Keys whose secrets are `stored-NAME`."""
    return KeySnapshot(
        tuple(KeyRecord(key, digest_of(f"stored-{key.key_id}".encode()), 0.0) for key in keys), num_revoked
    )


class Source:
    """A KeySource that is set by hand."""

    def __init__(self, *keys: Key, num_revoked: int = 0) -> None:
        self.now, self.error, self.num_read = snapshot(*keys, num_revoked=num_revoked), None, 0
        self.read = asyncio.Event()

    async def keys(self) -> KeySnapshot:
        self.num_read += 1
        self.read.set()
        if self.error:
            raise self.error
        return self.now


@pytest.fixture
async def ring_of(settings):
    """Builds rings; closes them in the end."""
    rings = []

    def build(source=None, gateway=None, refresh_s=3600.0, **sections):
        rings.append(KeyRing(settings(gateway=gateway or {}, **sections), source, refresh_s=refresh_s))
        return rings[-1]

    yield build
    for ring in rings:
        await ring.close()


async def test_keys_of_the_settings_have_their_roles(ring_of):
    ring = ring_of(gateway=OWN)
    assert (await ring.find(b"key-of-ada")) == Key("ada", "user")
    assert (await ring.find(b"key-of-root")) == Key("root", "admin")
    assert await ring.find(b"key-of-ad") is None
    assert not await ring.opened()


async def test_stored_keys_count_beside_those_of_the_settings(ring_of):
    ring = ring_of(Source(Key("bob", models=("auto",))), OWN)
    assert (await ring.find(b"stored-bob")) == Key("bob", models=("auto",))
    assert (await ring.find(b"key-of-ada")) == Key("ada")


async def test_without_any_key_the_server_is_open(ring_of):
    assert await ring_of().opened()
    assert await ring_of(Source()).opened()


async def test_a_server_does_not_open_when_its_last_key_is_revoked(ring_of):
    ring = ring_of(Source(num_revoked=1))
    assert not await ring.opened()
    assert await ring.find(b"anything") is None


async def test_a_server_does_not_open_when_its_database_has_lost_the_keys(ring_of, caplog):
    source = Source(Key("bob"))
    ring = ring_of(source)
    assert await ring.find(b"stored-bob")
    source.now = KeySnapshot()
    for _ in range(2):
        await ring.refresh()
    assert not await ring.opened()
    assert await ring.find(b"stored-bob") is None
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    source.now = snapshot(Key("eve"))
    await ring.refresh()
    assert await ring.find(b"stored-eve")


async def test_a_server_is_not_open_while_nobody_knows_whether_there_are_keys(ring_of):
    source = Source()
    source.error = LedgerError("away")
    ring = ring_of(source)
    for _ in range(3):
        with pytest.raises(LedgerError, match="cannot be read yet"):
            await ring.opened()
    assert (source.num_read, ring.open) == (1, False)
    source.error = None
    await ring.refresh()
    assert await ring.opened()


async def test_keys_that_were_read_at_the_start_count_when_the_first_request_finds_the_database_away(ring_of):
    source = Source(Key("bob", "user"))
    ring = ring_of(source)
    await ring.begin(60.0)
    source.error = LedgerError("away")
    assert not await ring.opened()
    assert (await ring.find(b"stored-bob")).key_id == "bob"


async def test_the_start_waits_for_the_database_only_so_long(ring_of):
    source = Source()
    source.error = LedgerError("away")
    ring = ring_of(source, refresh_s=0.001)
    await ring.begin(0.0)
    assert source.num_read == 1
    waiting = asyncio.create_task(ring.begin(60.0))
    source.read.clear()
    await source.read.wait()
    source.error = None
    await waiting
    assert await ring.opened()


async def test_keys_of_the_settings_work_without_the_database(ring_of):
    source = Source()
    source.error = LedgerError("away")
    ring = ring_of(source, OWN)
    assert await ring.find(b"key-of-ada") == Key("ada")
    assert source.num_read == 0
    with pytest.raises(LedgerError):
        await ring.find(b"perhaps stored")


async def test_made_and_revoked_keys_are_followed_in_the_background(ring_of):
    source = Source(Key("bob"))
    ring = ring_of(source, refresh_s=0.01)
    assert await ring.find(b"stored-bob") == Key("bob")
    source.now = snapshot(Key("eve"), num_revoked=1)
    for _ in range(2):  # the second reading begins when the first is done
        source.read.clear()
        await source.read.wait()
    assert await ring.find(b"stored-bob") is None
    assert await ring.find(b"stored-eve") == Key("eve")


async def test_while_the_database_is_away_the_last_keys_count_and_the_log_says_so_once(ring_of, caplog):
    source = Source(Key("bob"))
    ring = ring_of(source)
    await ring.refresh()
    source.error = LedgerError("away")
    for _ in range(3):
        await ring.refresh()
    assert await ring.find(b"stored-bob") == Key("bob")
    assert ring.last_error is source.error
    assert len(caplog.records) == 1
    source.error = None
    await ring.refresh()
    assert ring.last_error is None
    assert ring.age_s >= 0


async def test_a_silent_database_is_waited_for_only_so_long(settings):
    class Silent:
        async def keys(self):
            await asyncio.Event().wait()

    ring = KeyRing(settings(), Silent(), timeout_s=0.01)
    with pytest.raises(LedgerError):
        await ring.opened()
    await ring.close()


async def test_a_stored_key_does_not_take_the_name_of_one_of_the_settings(ring_of, caplog):
    ring = ring_of(Source(Key("ada", "admin")), OWN)
    assert await ring.find(b"key-of-ada") == Key("ada")
    assert await ring.find(b"stored-ada") is None
    assert "'ada' is refused" in caplog.text


@pytest.mark.parametrize(
    ("gateway", "message"),
    [
        ({"api_keys": {"ada": "12345678"}, "admin_keys": {"ada": "abcdefgh"}}, "both have a key 'ada'"),
        ({"api_keys": {"ada": "12345678"}, "admin_keys": {"bob": "12345678"}}, "under the names 'ada' and 'bob'"),
    ],
)
def test_settings_whose_keys_clash_are_refused(settings, gateway, message):
    with pytest.raises(ConfigError, match=message):
        KeyRing(settings(gateway=gateway))


async def test_the_settings_add_to_a_keys_rights_by_its_name(ring_of):
    source = Source(Key("bob", store_texts=True), Key("eve", semantic_cache=True))
    ring = ring_of(
        source,
        {**OWN, "admission": {"priority_keys": ["eve"]}},
        cache={"semantic": {"keys": ["bob"]}},
        ledger={"texts": {"store": True, "keys": ["ada"]}},
    )
    found = {name: await ring.find(secret) for name, secret in {"bob": b"stored-bob", "eve": b"stored-eve"}.items()}
    assert (found["bob"].semantic_cache, found["bob"].store_texts) == (True, True)
    assert (found["eve"].semantic_cache, found["eve"].store_texts) == (True, False)
    assert (found["bob"].priority, found["eve"].priority) == (False, True)
    assert (await ring.find(b"key-of-ada")).store_texts


async def test_texts_are_not_kept_for_a_key_while_they_are_switched_off(ring_of):
    ring = ring_of(Source(Key("bob", store_texts=True)))
    assert not (await ring.find(b"stored-bob")).store_texts


def test_an_allow_list_and_a_role_are_kept():
    key = Key("ada", models=("auto",))
    key.check_model("auto")
    with pytest.raises(NotPermitted, match="may not ask for 'large'; it may ask for auto") as caught:
        key.check_model("large")
    assert caught.value.param == "model"
    with pytest.raises(NotPermitted, match="admin key"):
        key.check_admin()
    Key("root", "admin").check_admin()
