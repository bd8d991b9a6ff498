"""The artefact store: whole or not there, with the bytes that its name says, whatever breaks in the middle."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from serve_app.adapters import content_digest, load
from serve_app.adapters.registry.artefacts import MARKER, open_artefacts
from serve_app.config.nodes import AdapterSource
from serve_app.config.registry import RegistrySettings
from serve_app.core import AdapterError, ConfigError

URIS = ["file://{}/store", "{}/store", "memory://store/prefix", "scripted://store"]


@pytest.fixture(params=URIS)
def uri(request, tmp_path) -> str:
    return request.param.format(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_what_one_node_puts_another_one_fetches(uri, open_store, make_adapter):
    folder = make_adapter(manifest={"description": "tiny"})
    (folder / "README.md").write_text("A card.")
    (folder / "optimizer.pt").write_bytes(b"not wanted")
    digest = await open_store(uri, "a").put(folder)
    assert digest == content_digest(folder)
    copy = await open_store(uri, "b").fetch(digest)
    assert names(copy) == {"adapter_config.json", "adapter_model.safetensors", "headrace.json", "README.md"}
    assert content_digest(copy) == digest
    assert load(copy, "tiny").version == digest[:12]
    assert await open_store(uri, "b").fetch(digest) == copy


async def test_putting_twice_or_at_once_is_the_same(uri, open_store, make_adapter):
    folder = make_adapter()
    store = open_store(uri)
    digests = await asyncio.gather(*(store.put(folder) for _ in range(4)))
    assert set(digests) == {await store.put(folder)}
    assert await store.holds(digests[0])


async def test_an_interrupted_publication_is_not_seen_and_the_next_one_ends_it(scripted, open_store, make_adapter):
    folder, uri = make_adapter(manifest={}), "scripted://store"
    digest, num_unseen = content_digest(folder), 0
    for failing in range(100):
        scripted.reset(failing)
        try:
            await open_store(uri).put(folder)
        except AdapterError as error:
            assert "the storage is away" in str(error)
        else:
            break
        scripted.reset()
        reader = open_store(uri, node=f"n{failing}")
        if await reader.holds(digest):  # all was there but for the tidying up
            assert content_digest(await reader.fetch(digest)) == digest
            continue
        num_unseen += 1
        with pytest.raises(AdapterError, match="is not in scripted://store"):
            await reader.fetch(digest)
    assert num_unseen > 10
    scripted.reset()
    assert content_digest(await open_store(uri, "b").fetch(digest)) == digest


async def test_an_interrupted_fetch_leaves_nothing_and_is_repeated(scripted, open_store, make_adapter, tmp_path):
    uri = "scripted://store"
    digest = await open_store(uri).put(make_adapter())
    for failing in range(3):
        scripted.reset(failing)
        with pytest.raises(AdapterError, match="cannot be read or written now"):
            await open_store(uri, "b").fetch(digest)
        assert names(tmp_path / "cache-b") == {".locks"}
    scripted.reset()
    assert content_digest(await open_store(uri, "b").fetch(digest)) == digest


async def test_other_bytes_than_the_name_says_are_not_taken(open_store, make_adapter, tmp_path):
    digest = await open_store().put(make_adapter())
    weights = tmp_path / "store" / digest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(AdapterError, match="came with other bytes"):
        await open_store(node="b").fetch(digest)
    assert names(tmp_path / "cache-b") == {".locks"}


async def test_files_cut_short_in_the_store_are_put_again(open_store, make_adapter, tmp_path):
    folder = make_adapter()
    digest = await open_store().put(folder)
    (tmp_path / "store" / digest / "adapter_config.json").write_bytes(b"")
    assert not await open_store().holds(digest)
    await open_store().put(folder)
    assert content_digest(await open_store(node="b").fetch(digest)) == digest


async def test_files_damaged_in_the_store_are_put_again(open_store, make_adapter, tmp_path):
    folder = make_adapter()
    digest = await open_store().put(folder)
    weights = tmp_path / "store" / digest / "adapter_model.safetensors"
    weights.write_bytes(b"\0" * weights.stat().st_size)  # as after a power cut
    await open_store().put(folder)
    assert content_digest(await open_store(node="b").fetch(digest)) == digest


async def test_a_damaged_copy_is_fetched_again(open_store, make_adapter):
    store = open_store()
    digest = await store.put(make_adapter())
    copy = await store.fetch(digest)
    (copy / "adapter_config.json").write_text("{}")
    assert content_digest(await store.fetch(digest)) == digest


async def test_a_marker_that_names_other_files_is_refused(open_store, make_adapter, tmp_path):
    digest = await open_store().put(make_adapter())
    marker = tmp_path / "store" / digest / MARKER
    for text in ('{"files": {"../../secret": 3}}', "[]", '{"files": {"adapter_config.json": 1}}', "{"):
        marker.write_text(text)
        with pytest.raises(AdapterError, match=MARKER):
            await open_store(node="b").fetch(digest)


async def test_a_digest_is_no_path(open_store):
    for digest in ("../x", "a" * 63, "A" * 64):
        with pytest.raises(AdapterError, match="no sha256"):
            await open_store().fetch(digest)
        with pytest.raises(AdapterError, match="no sha256"):
            await open_store().delete(digest)


async def test_what_lies_on_this_node_is_not_fetched(open_store, make_adapter):
    folder = make_adapter()
    digest = content_digest(folder)
    assert await open_store(folders=[folder]).fetch(digest) == folder
    (folder / "headrace.json").write_text("{}")  # other files now lie there
    with pytest.raises(AdapterError, match=r"registry\.store must be a place"):
        await open_store(folders=[folder]).fetch(digest)


async def test_too_large_a_file_ends_the_fetch(open_store, make_adapter):
    digest = await open_store().put(make_adapter())
    with pytest.raises(AdapterError, match=r"registry\.max_adapter_mb"):
        await open_store(node="b", max_bytes=1000).fetch(digest)


async def test_deleting_spares_what_was_put_just_now(uri, open_store, make_adapter):
    store, folder = open_store(uri), make_adapter()
    digest = await store.put(folder)
    assert not await store.delete(digest, unused_for_s=60)
    assert await store.holds(digest)
    assert await store.delete(digest)
    assert not await store.holds(digest)
    assert await store.delete(digest)


async def test_a_sweep_deletes_only_what_was_never_finished(open_store, make_adapter, tmp_path):
    store, long_ago_s = open_store(), time.time() - 100
    whole = await store.put(make_adapter())
    begun = tmp_path / "store" / ("b" * 64)
    begun.mkdir()
    (begun / "adapter_config.json.0011.part").write_text("{")
    (tmp_path / "store" / "notes.txt").write_text("mine")
    assert await store.sweep(older_than_s=50) == 0
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (long_ago_s, long_ago_s))
    assert await store.sweep(older_than_s=50) == 1
    assert names(tmp_path / "store") == {whole, "notes.txt"}


async def test_a_folder_that_is_no_adapter_is_not_put(open_store, tmp_path):
    with pytest.raises(AdapterError, match="is missing"):
        await open_store().put(tmp_path)


async def test_links_are_not_followed(open_store, make_adapter, tmp_path):
    folder = make_adapter()
    secret = tmp_path / "secret"
    (folder / "adapter_config.json").rename(secret)
    (folder / "adapter_config.json").symlink_to(secret)
    with pytest.raises(AdapterError, match="links are not followed"):
        await open_store().put(folder)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("nope://x", "cannot be read or written now"),
        ("zip://a::file:///etc", "chain of storages"),
    ],
)
async def test_a_store_that_is_none_is_one_sentence(uri, sentence, open_store, make_adapter):
    with pytest.raises(AdapterError, match=sentence):
        await open_store(uri).put(make_adapter())


async def test_credentials_are_not_shown(open_store):
    assert open_store("s3://key:secret@bucket/x?token=1").name == "s3://bucket/x"


def test_the_settings_make_a_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    sources = {"a": AdapterSource(path=str(tmp_path)), "b": AdapterSource(path="shipped:legal")}
    assert open_artefacts(RegistrySettings(store=str(tmp_path)), sources).name == str(tmp_path)
    with pytest.raises(ConfigError, match=r"registry\.store"):
        open_artefacts(RegistrySettings(), {})


async def test_a_shipped_adapter_needs_no_store(open_store):
    from serve_app.adapters import shipped

    assert await open_store("nope://x").fetch(content_digest(shipped("legal"))) == shipped("legal")


async def test_no_bucket_is_made_where_a_name_is_mistyped(open_store, make_adapter, scripted, monkeypatch):
    made = []
    monkeypatch.setattr(scripted, "makedirs", lambda self, path, exist_ok: made.append(path))
    await open_store("scripted://store").put(make_adapter("one"))
    assert len(made) == 1
    monkeypatch.setattr(scripted, "protocol", ("s3", "s3a"))
    await open_store("scripted://store").put(make_adapter("two", manifest={}))
    assert len(made) == 1
