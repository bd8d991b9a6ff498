"""The copy of the stored keys on a gateway's disk: what is in it, who may read it, and how long it counts."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.budgets import Limit
from serve_app.core import DataError, LedgerError
from serve_app.keys import KeptKeys, Key, KeyRecord, KeyRing, KeySnapshot, digest_of

LIMITS = (Limit(per="day", usd="2.50"), Limit(per="minute", tokens=1000))
BOB = Key("bob", "admin", ("auto", "legal"), LIMITS, semantic_cache=True, store_texts=True)
STORED = KeySnapshot((KeyRecord(BOB, digest_of(b"stored-bob"), 12.5),), num_revoked=3)

names = st.text(max_size=20)
keys = st.builds(
    Key,
    names,
    st.sampled_from(["user", "admin"]),
    st.none() | st.lists(names).map(tuple),
    st.sampled_from([(), LIMITS]),
    st.booleans(),
    st.booleans(),
)
snapshots = st.builds(
    KeySnapshot,
    st.lists(st.builds(KeyRecord, keys, st.text("0123456789abcdef", min_size=64, max_size=64), st.floats(0, 1e10))).map(
        tuple
    ),
    st.integers(0, 9),
)


class Source:
    """A KeySource that is set by hand."""

    def __init__(self, now: KeySnapshot, error: Exception | None = None) -> None:
        self.now, self.error = now, error

    async def keys(self) -> KeySnapshot:
        if self.error:
            raise self.error
        return self.now


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> KeptKeys:
    return KeptKeys(tmp_path / "journals" / "keys.json", 3600.0, clock)


@pytest.fixture
async def ring_of(settings, kept):
    """Builds rings over the copy; closes them in the end."""
    rings = []

    def build(source, **options):
        rings.append(KeyRing(settings(), source, kept, **{"refresh_s": 3600.0, **options}))
        return rings[-1]

    yield build
    for ring in rings:
        await ring.close()


@given(snapshots)
def test_a_copy_is_what_was_stored(tmp_path_factory: pytest.TempPathFactory, snapshot: KeySnapshot) -> None:
    kept = KeptKeys(tmp_path_factory.getbasetemp() / "kept" / "keys.json", 60.0)
    kept.save(snapshot)
    copy = kept.load()
    assert copy is not None
    assert copy.snapshot == snapshot


def test_the_file_is_the_owners_alone_and_holds_digests_only(kept: KeptKeys, tmp_path: Path) -> None:
    kept.save(STORED)
    (file,) = (tmp_path / "journals").iterdir()  # and nothing half-written beside it
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["read_at_s"] == 1000.0
    assert "stored-bob" not in file.read_text()


@pytest.mark.parametrize(("now_s", "counts"), [(1000.0, True), (4600.0, True), (4601.0, False), (900.0, False)])
def test_a_copy_that_is_too_old_or_of_the_future_is_none(
    kept: KeptKeys, clock: Clock, now_s: float, counts: bool
) -> None:
    kept.save(STORED)
    clock.now_s = now_s
    assert (kept.load() is not None) == counts


def test_a_copy_that_others_may_have_written_or_that_is_damaged_is_refused(kept: KeptKeys, tmp_path: Path) -> None:
    assert kept.load() is None
    kept.save(STORED)
    file = tmp_path / "journals" / "keys.json"
    file.chmod(0o620)
    with pytest.raises(DataError, match="other users"):
        kept.load()
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"damaged.*delete it"):
        kept.load()


async def test_a_ring_that_begins_without_the_ledger_takes_the_copy_until_the_ledger_answers(
    ring_of, kept, clock, caplog
):
    kept.save(STORED)
    clock.now_s += 600
    source = Source(KeySnapshot(num_revoked=4), LedgerError("away"))
    ring = ring_of(source)
    await ring.begin(0.0)
    assert await ring.find(b"stored-bob") == replace(BOB, store_texts=False)
    assert (ring.kept_age_s, await ring.opened()) == (600.0, False)
    assert "a copy of 600 s ago counts" in caplog.text
    source.error = None
    await ring.refresh()
    assert await ring.find(b"stored-bob") is None  # it was revoked meanwhile
    assert ring.kept_age_s is None


async def test_a_copy_in_force_ends_at_its_age(ring_of, kept, clock, caplog):
    kept.save(STORED)
    ring = ring_of(Source(STORED, LedgerError("away")))
    await ring.begin(0.0)
    clock.now_s += 3601
    await ring.refresh()
    with pytest.raises(LedgerError):
        await ring.find(b"stored-bob")
    with pytest.raises(LedgerError):
        await ring.opened()
    assert "older than 3600 s" in caplog.text


async def test_what_the_ledger_tells_is_copied_and_no_copy_is_made_of_no_keys(ring_of, kept, tmp_path):
    source = Source(KeySnapshot())
    ring = ring_of(source, refresh_s=0.001)
    await ring.begin(0.0)
    async with asyncio.timeout(10):
        assert await ring.opened()
        source.now = STORED
        while not (tmp_path / "journals" / "keys.json").exists():  # noqa: ASYNC110 - written by a thread of the ring's
            await asyncio.sleep(0.001)
    assert kept.load().snapshot == STORED


async def test_a_copy_that_cannot_be_used_or_written_is_told_and_does_no_harm(ring_of, kept, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "journals").mkdir()
    (tmp_path / "journals" / "keys.json").mkdir()
    source = Source(STORED, LedgerError("away"))
    ring = ring_of(source, refresh_s=0.001)
    await ring.begin(0.0)
    assert "The copy of the API keys on this node is not taken" in caplog.text
    source.error = None
    async with asyncio.timeout(10):
        while "No copy of the API keys can be kept" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert (await ring.find(b"stored-bob")).key_id == "bob"
