"""Where versions come from: only an adapter's own files are taken, whatever lies beside them or they claim to be."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from serve_app.adapters import content_digest
from serve_app.adapters.registry.sources import fetch_source
from serve_app.core import AdapterError

MAX_BYTES = 2**20
TAKEN = {"adapter_config.json", "adapter_model.safetensors", "headrace.json", "README.md"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(make_adapter) -> Path:
    made = make_adapter(manifest={})
    (made / "README.md").write_text("A card.")
    (made / "trainer_state.json").write_text("{}")
    (made / "checkpoint-1").mkdir()
    return made


@pytest.fixture
def into(tmp_path) -> Path:
    return tmp_path / "into"


def to_memory(folder: Path, place: str) -> None:
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        if path.is_file():
            system.pipe_file(f"{place}/{path.name}", path.read_bytes())


async def test_a_folder_gives_its_adapter_and_nothing_else(folder, into):
    for place, uri in {"path": str(folder), "uri": f"file://{folder}"}.items():
        found = await fetch_source(uri, into / place, MAX_BYTES)
        assert names(found) == TAKEN
        assert content_digest(found) == content_digest(folder)


async def test_any_storage_gives_its_adapter_and_nothing_else(folder, into):
    to_memory(folder, "/models/tiny")
    found = await fetch_source("memory://models/tiny/", into, MAX_BYTES)
    assert names(found) == TAKEN
    assert content_digest(found) == content_digest(folder)


async def test_a_shipped_adapter_is_a_source(into):
    from serve_app.adapters import shipped

    found = await fetch_source("shipped:legal", into, 20 * MAX_BYTES)
    assert content_digest(found) == content_digest(shipped("legal"))
    with pytest.raises(AdapterError, match="no adapter 'nobody' is shipped"):
        await fetch_source("shipped:nobody", into / "x", MAX_BYTES)


async def test_too_large_a_source_is_refused_before_it_is_read(folder, into):
    to_memory(folder, "/models/tiny")
    with pytest.raises(AdapterError, match=r"registry\.max_adapter_mb"):
        await fetch_source("memory://models/tiny", into, 1024)
    assert names(into) == set()
    with pytest.raises(AdapterError, match=r"registry\.max_adapter_mb"):
        await fetch_source(str(folder), into, 1024)


async def test_a_size_that_lies_does_not_help(folder, into, monkeypatch):
    to_memory(folder, "/models/tiny")
    system = type(fsspec.filesystem("memory"))
    told = system.info
    monkeypatch.setattr(system, "info", lambda self, path, **more: told(self, path, **more) | {"size": 1})
    with pytest.raises(AdapterError, match=r"registry\.max_adapter_mb"):
        await fetch_source("memory://models/tiny", into, 1024)


@pytest.mark.parametrize("name", ["adapter_config.json", "README.md"])
async def test_links_are_not_followed(folder, into, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(AdapterError, match="links are not followed"):
        await fetch_source(str(folder), into, MAX_BYTES)


async def test_a_pipe_in_place_of_a_file_holds_nothing_up(folder, into):
    import os

    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    with pytest.raises(AdapterError, match="no regular file"):
        await fetch_source(str(folder), into, MAX_BYTES)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("/no/such/folder", "is no folder here"),
        ("memory://models/none", "holds no adapter_config.json"),
        ("zip://x::memory://y", "chain of storages"),
        ("nope://x", "cannot be read or written now"),
        ("hf://only-a-name", "no address on the hub"),
        ("hf://a/b/../c", "no address on the hub"),
    ],
)
async def test_what_is_no_source_is_one_sentence(uri, sentence, into):
    with pytest.raises(AdapterError, match=sentence):
        await fetch_source(uri, into, MAX_BYTES)


async def test_a_pickle_is_not_taken_for_weights(folder, into):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match=r"holds no adapter_model\.safetensors"):
        await fetch_source(str(folder), into, MAX_BYTES)


async def test_a_storage_that_fails_in_the_middle_is_one_sentence(folder, into, scripted):
    system = fsspec.filesystem("scripted")
    for path in folder.iterdir():
        if path.is_file():
            system.pipe_file(f"/tiny/{path.name}", path.read_bytes())
    for failing in (0, 3, 5):
        scripted.reset(failing)
        with pytest.raises(AdapterError, match=r"scripted://tiny cannot be read or written now \(ConnectionError"):
            await fetch_source("scripted://tiny", into / str(failing), MAX_BYTES)


@dataclass
class FakeHub:
    """A hub with one repository, which a folder is."""

    folder: Path
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    fault: Exception | None = None

    def model_info(self, repo_id, *, revision, files_metadata):
        if self.fault is not None:
            raise self.fault
        self.asked.append((repo_id, revision))
        files = [path for path in self.folder.iterdir() if path.is_file()]
        siblings = [SimpleNamespace(rfilename=path.name, size=path.stat().st_size) for path in files]
        return SimpleNamespace(sha="c0ffee", siblings=siblings)

    def hf_hub_download(self, repo_id, filename, *, revision, local_dir):
        self.asked.append((filename, revision))
        (local_dir / ".cache").mkdir(exist_ok=True)
        (local_dir / filename).write_bytes((self.folder / filename).read_bytes())
        return str(local_dir / filename)


async def test_the_hub_gives_one_commit_s_files(folder, into):
    hub = FakeHub(folder)
    found = await fetch_source("hf://org/tiny@main", into, MAX_BYTES, hub)
    assert names(found) == TAKEN
    assert content_digest(found) == content_digest(folder)
    assert hub.asked[0] == ("org/tiny", "main")
    assert {revision for _, revision in hub.asked[1:]} == {"c0ffee"}


async def test_too_large_a_repository_is_refused_before_it_is_read(folder, into):
    hub = FakeHub(folder)
    with pytest.raises(AdapterError, match=r"registry\.max_adapter_mb"):
        await fetch_source("hf://org/tiny", into, 1024, hub)
    assert hub.asked == [("org/tiny", None)]


async def test_a_hub_that_is_away_is_one_sentence(folder, into):
    with pytest.raises(AdapterError, match="hf://org/tiny cannot be read or written now"):
        await fetch_source("hf://org/tiny", into, MAX_BYTES, FakeHub(folder, fault=TimeoutError("no answer")))


def test_the_fake_has_the_hub_s_own_signatures():
    import inspect

    from huggingface_hub import HfApi

    for name in ("model_info", "hf_hub_download"):
        wanted = set(inspect.signature(getattr(FakeHub, name)).parameters)
        assert wanted <= set(inspect.signature(getattr(HfApi, name)).parameters)
