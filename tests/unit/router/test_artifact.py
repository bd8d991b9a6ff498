"""The router on disk: it comes back the same, and damage is told from absence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from serve_app.core import DataError
from serve_app.router.artifact import ARRAYS_FILE, RECORD_FILE, read, write
from serve_app.training.router import Trained


def test_what_is_written_comes_back(trained: Trained, folder: Path) -> None:
    artifact, found = trained.artifact, read(folder)
    old, new = artifact.classifier.model.bank, found.classifier.model.bank
    for name in ("vectors", "labels", "weights", "duals"):
        assert np.array_equal(getattr(new, name), getattr(old, name)), name
    assert (found.classifier.labels, found.floor) == (("code", "general", "legal", "medical"), 0.4)
    assert (found.classifier.model.settings, found.card) == (artifact.classifier.model.settings, artifact.card)


def test_the_same_artifact_gives_the_same_bytes(trained: Trained, folder: Path, tmp_path: Path) -> None:
    write(trained.artifact, tmp_path / "again")
    for name in (ARRAYS_FILE, RECORD_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_folder_holds_no_pickle(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [RECORD_FILE, ARRAYS_FILE]


@pytest.mark.parametrize("name", [RECORD_FILE, ARRAYS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"is no router: cannot read {name}"):
        read(folder)


@pytest.mark.parametrize("name", [RECORD_FILE, ARRAYS_FILE])
def test_a_cut_file_is_called_damaged(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is damaged"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 99}, "has format 99 and this version reads 1 and 2"),
        ({"temperature": 0}, "is damaged .temperature"),
        ({"floor": 2}, "is damaged .floor"),
        ({"labels": ["a"]}, "is damaged .labels"),
        ({"surprise": 1}, "is damaged .surprise"),
        ({"labels": ["a", "b"]}, "do not fit together"),
        ({"model": {"kind": "oracle"}}, "is damaged .model"),
    ],
)
def test_a_wrong_record_is_refused(folder: Path, change: dict[str, Any], complaint: str) -> None:
    path = folder / RECORD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=complaint):
        read(folder)


@pytest.mark.parametrize("name", ["vectors", "labels", "weights", "duals"])
def test_arrays_that_do_not_fit_are_refused(folder: Path, name: str) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    arrays[name] = arrays[name][1:]
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match="do not fit together"):
        read(folder)


def test_a_number_that_is_not_finite_is_refused(folder: Path) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    arrays["duals"][0, 0] = np.nan
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match="not finite"):
        read(folder)


def test_a_router_of_the_first_format_is_read(folder: Path, trained: Trained) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    shape = record.pop("model")
    del shape["kind"], shape["term_share"], shape["num_directions"]
    (folder / RECORD_FILE).write_text(json.dumps(record | shape | {"format": 1}))
    found = read(folder)
    new = trained.artifact.classifier.model.settings
    assert found.classifier.model.settings == new.model_copy(update={"num_directions": 0})
    assert (found.floor, found.card) == (trained.artifact.floor, trained.artifact.card)


def test_a_missing_array_is_named(folder: Path) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    del arrays["duals"]
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match="lacks duals"):
        read(folder)
