"""pip brings wheels, installs nothing, and its failures become one sentence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from serve_app import catalogue
from serve_app.catalogue import fetch
from serve_app.catalogue.fetch import explain, is_good, pip_fetch, wheel_in
from serve_app.core import CatalogueError


@pytest.fixture
def pip_env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip with no settings of this machine."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return monkeypatch


def test_pip_fetches_the_pinned_wheel_from_the_index_it_is_configured_for(
    world: Any, tmp_path: Path, pip_env: pytest.MonkeyPatch
) -> None:
    pip_env.setenv("PIP_NO_INDEX", "1")
    pip_env.setenv("PIP_FIND_LINKS", str(world.fetch.wheels))
    wheel = catalogue.entry("tiny").wheels[0]
    folder = tmp_path / "into"
    folder.mkdir()
    path = pip_fetch(wheel, folder, world.heard)
    assert is_good(path, wheel)
    assert wheel_in(folder, wheel) == path
    assert list(folder.iterdir()) == [path]
    assert world.heard.num_bytes == wheel.num_bytes


def test_index_out_of_reach_is_said_without_its_address(
    world: Any, tmp_path: Path, pip_env: pytest.MonkeyPatch
) -> None:
    pip_env.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    pip_env.setattr(fetch, "PIP_RETRIES", 1)  # pip says nothing about the connection when it may not retry
    with pytest.raises(CatalogueError) as caught:
        pip_fetch(catalogue.entry("tiny").wheels[0], tmp_path, world.heard)
    assert str(caught.value).startswith("The package index cannot be reached for tiny_part0==1.0: check the network")
    assert "127.0.0.1" not in str(caught.value)
    assert not list(tmp_path.glob(".pip-*"))


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("/venv/bin/python: No module named pip", "has no pip"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NameResolutionError()'\nERROR: No matching",
            "cannot be reached",
        ),
        ("ERROR: No matching distribution found for tiny_part0==1.0", "has no tiny_part0==1.0"),
        ("Traceback (most recent call last):", "exit code 2"),
    ],
)
def test_each_failure_of_pip_is_one_sentence(world: Any, log: str, says: str) -> None:
    sentence = explain(log, catalogue.entry("tiny").wheels[0], 2)
    assert says in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_wheel_is_found_whatever_dashes_its_name_is_written_with(world: Any, tmp_path: Path) -> None:
    wheel = catalogue.entry("tiny").wheels[0].model_copy(update={"name": "Tiny-Part0"})
    (tmp_path / "tiny_part0-1.0-py3-none-any.whl").touch()
    (tmp_path / "tiny_part0-1.1-py3-none-any.whl").touch()
    assert wheel_in(tmp_path, wheel) == tmp_path / "tiny_part0-1.0-py3-none-any.whl"


def test_progress_overlooks_what_pip_removes_meanwhile(tmp_path, monkeypatch):
    """pip's temporary folders go while they are looked through."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "model.whl").write_bytes(b"12345")
    scan = os.scandir

    def vanishing(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert fetch._bytes_under(tmp_path) == 5
