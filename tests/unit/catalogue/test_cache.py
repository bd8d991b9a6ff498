"""`resolve` finds models by name or folder, and fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_app import catalogue
from serve_app.catalogue import record
from serve_app.core import CatalogueError


def folder_of(path: Path, **contents: str) -> Path:
    path.mkdir()
    for name, text in {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "w", **contents}.items():
        (path / name).write_text(text)
    return path


def test_model_that_was_never_pulled_says_how_to_pull_it(world: Any) -> None:
    with pytest.raises(CatalogueError, match="tiny is absent on this machine: run `headrace models pull tiny`"):
        catalogue.resolve("tiny")
    with pytest.raises(CatalogueError, match="tiny is not on this machine"):
        catalogue.verify("tiny")


def test_neither_name_nor_folder_lists_the_known_names(world: Any) -> None:
    with pytest.raises(CatalogueError, match=r"neither a folder nor a model of the catalogue, which has .*tiny"):
        catalogue.resolve("/no/such/folder")


def test_folder_digest_follows_contents_and_not_the_place(world: Any, tmp_path: Path) -> None:
    digests = [
        catalogue.resolve(str(folder_of(tmp_path / name, **more))).source_digest
        for name, more in {"a": {}, "b": {}, "c": {"config.json": "{ }"}}.items()
    ]
    assert digests[0] == digests[1] != digests[2]


def test_pulled_folder_given_by_its_path_keeps_its_digest(world: Any) -> None:
    files = world.puller().pull("tiny", world.heard)
    assert catalogue.resolve(str(files.path)) == files


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_folder_that_is_no_model_names_what_is_missing(world: Any, tmp_path: Path, missing: str) -> None:
    (folder_of(tmp_path / "a") / missing).unlink()
    with pytest.raises(CatalogueError, match=missing.replace("model.", "")):
        catalogue.resolve(str(tmp_path / "a"))


def test_record_that_cannot_be_read_is_damage_and_not_a_crash(world: Any) -> None:
    files = world.puller().pull("tiny", world.heard)
    (files.path / record.FILE).write_text('{"alias": "tiny"')
    assert catalogue.state(catalogue.entry("tiny")) == "damaged"
    with pytest.raises(CatalogueError, match=r"headrace.json is damaged"):
        catalogue.verify("tiny")
    assert world.puller().pull("tiny", world.heard) == files


def test_cache_folder_is_named_by_the_environment(world: Any) -> None:
    assert catalogue.cache_dir() == world.cache


def test_an_adapter_given_as_base_is_told_apart_and_never_to_be_deleted(world: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "adapter", **{"headrace.json": '{"system_prompt": "Be brief."}'})
    with pytest.raises(CatalogueError, match="name the base, not an adapter") as error:
        catalogue.resolve(str(folder))
    assert "delete" not in str(error.value)
