"""Copies on a node: shared, bounded, and never taken away from those who use them."""

import threading
from pathlib import Path

import pytest

from serve_app.adapters import content_digest
from serve_app.adapters.registry.cache import AdapterCache
from serve_app.core import AdapterError


class Clock:
    """Stands still until it is moved; begins after the epoch, so that a file of now is in its future."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def filler(text: str):
    def fill(part: Path) -> None:
        (part / "adapter_config.json").write_text(text)

    return fill


@pytest.fixture
def digest_of_text(tmp_path):
    def digest_of_text(text: str) -> str:
        folder = tmp_path / f"source-{len(text)}-{text[:1]}"
        folder.mkdir(exist_ok=True)
        filler(text)(folder)
        return content_digest(folder)

    return digest_of_text


def held(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_the_least_recently_used_goes_and_what_is_served_stays(tmp_path, digest_of_text):
    clock, folder = Clock(), tmp_path / "cache"
    cache = AdapterCache(folder, max_bytes=250, clock=clock)
    digests = {letter: digest_of_text(letter * 100) for letter in "abcd"}
    cache.keep([digests["a"]])
    for letter in "abcd":
        cache.get(digests[letter], filler(letter * 100))
        clock.now_s += 1000
    assert held(folder) == {digests["a"], digests["d"]}  # over 250 bytes with c, which was used longer ago than d
    cache.keep([])
    cache.get(digests["b"], filler("b" * 100))
    assert held(folder) == {digests["d"], digests["b"]}


def test_what_was_asked_for_just_now_stays_even_beyond_the_bound(tmp_path, digest_of_text):
    cache = AdapterCache(tmp_path / "cache", max_bytes=1, clock=Clock())
    homes = [cache.get(digest_of_text(letter * 100), filler(letter * 100)) for letter in "abc"]
    assert all(home.is_dir() for home in homes)


def test_what_killed_fetches_left_goes_in_time(tmp_path, digest_of_text):
    import os

    clock, folder = Clock(), tmp_path / "cache"
    cache = AdapterCache(folder, max_bytes=1000, clock=clock)
    left = folder / ".part-left"
    left.mkdir(parents=True)
    os.utime(left, (clock.now_s, clock.now_s))
    cache.get(digest_of_text("a"), filler("a"))
    assert left.is_dir()
    clock.now_s += 10_000
    cache.get(digest_of_text("b"), filler("b"))
    assert not left.exists()


def test_many_who_ask_at_once_fetch_once(tmp_path, digest_of_text):
    cache, digest, calls = AdapterCache(tmp_path / "cache", 1000), digest_of_text("a"), []

    def fill(part: Path) -> None:
        calls.append(part)
        filler("a")(part)

    threads = [threading.Thread(target=cache.get, args=(digest, fill)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert held(tmp_path / "cache") == {digest}


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, digest_of_text):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(AdapterError, match="check its disk"):
        AdapterCache(tmp_path / "cache", 1000).get(digest_of_text("a"), filler("a"))
