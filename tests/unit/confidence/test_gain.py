"""The pre-router as served: a probability, the same from disk, and damage or another encoder is refused."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from serve_app.confidence.gain import ARRAYS_FILE, RECORD_FILE, Arrays, GainModel, read, write
from serve_app.confidence.model import Platt
from serve_app.confidence.surface import SURFACE
from serve_app.core import ConfigError, DataError

DIMENSION, NUM_WAVES = 8, 4
VECTOR = np.eye(DIMENSION, dtype=np.float32)[0]


def model(**changed: Any) -> GainModel:
    random = np.random.default_rng(0)
    num_counts = len(SURFACE)
    arrays = Arrays(
        vector_weights=random.standard_normal(DIMENSION),
        surface_mean=random.uniform(0, 1, num_counts),
        surface_scale=random.uniform(0.5, 2, num_counts),
        surface_weights=random.standard_normal(num_counts) / 10,
        waves=random.standard_normal((num_counts, NUM_WAVES)),
        phases=random.uniform(0, 6, NUM_WAVES),
        wave_weights=random.standard_normal(NUM_WAVES) / 10,
    )
    rounded = {field.name: getattr(arrays, field.name).astype(np.float32) for field in fields(arrays)}
    made = GainModel(Arrays(**rounded), 0.1, Platt(slope=2.0, offset=-1.0), "an-encoder", {"rows": 7})
    return replace(made, **changed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(model(), tmp_path / "gain")
    return tmp_path / "gain"


@given(st.text(max_size=300))
def test_every_text_has_a_probability(text: str) -> None:
    assert 0 < model().probability(VECTOR, text) < 1


def test_the_score_is_what_the_page_says() -> None:
    silent = replace(
        model().arrays,
        surface_weights=np.zeros(len(SURFACE)),
        wave_weights=np.zeros(NUM_WAVES),
        vector_weights=np.full(DIMENSION, 0.5),
    )
    found = model(arrays=silent).probability(VECTOR, "How many?")
    assert found == pytest.approx(1 / (1 + np.exp(-(2.0 * (0.5 + 0.1) - 1.0))))


def test_counts_far_from_training_count_no_more_than_four_deviations() -> None:
    far = "9 " * 600
    farther = "9 " * 800
    narrow = replace(model().arrays, surface_scale=np.full(len(SURFACE), 1e-3))
    assert model(arrays=narrow).probability(VECTOR, far) == model(arrays=narrow).probability(VECTOR, farther)


def test_what_is_written_comes_back(folder: Path) -> None:
    found = read(folder, "an-encoder")
    for field in fields(Arrays):
        assert np.array_equal(getattr(found.arrays, field.name), getattr(model().arrays, field.name)), field.name
    assert found.probability(VECTOR, "Is 3 prime?") == pytest.approx(model().probability(VECTOR, "Is 3 prime?"))
    assert found.card == {"rows": 7}


def test_the_same_model_gives_the_same_bytes_and_no_pickle(folder: Path, tmp_path: Path) -> None:
    write(model(), tmp_path / "again")
    assert sorted(path.name for path in folder.iterdir()) == [RECORD_FILE, ARRAYS_FILE]
    for name in (ARRAYS_FILE, RECORD_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_another_encoder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"trained on encoder an-encoder, not on other: set router\.encoder"):
        read(folder, "other")


def test_a_vector_of_another_dimension_is_refused() -> None:
    with pytest.raises(ConfigError, match="vectors of 8 numbers"):
        model().probability(np.zeros(9, dtype=np.float32), "text")


@pytest.mark.parametrize("name", [RECORD_FILE, ARRAYS_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"Cannot read the pre-router .*{name}"):
        read(folder, "an-encoder")


@pytest.mark.parametrize("name", [RECORD_FILE, ARRAYS_FILE])
def test_a_cut_file_is_called_damaged(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is damaged"):
        read(folder, "an-encoder")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 9}, "has format 9 and this version reads 1"),
        ({"surprise": 1}, "is damaged .surprise"),
        ({"calibration": {"kind": "platt", "slope": 0, "offset": 0}}, "is damaged .calibration.slope"),
        ({"intercept": "x"}, "is damaged .intercept"),
    ],
)
def test_a_wrong_record_is_refused(folder: Path, change: dict[str, Any], complaint: str) -> None:
    path = folder / RECORD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=complaint):
        read(folder, "an-encoder")


def test_a_model_that_counts_other_things_is_refused(folder: Path) -> None:
    path = folder / RECORD_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"surface": ["log_chars"]}))
    with pytest.raises(ConfigError, match="counts other things"):
        read(folder, "an-encoder")


@pytest.mark.parametrize("name", [field.name for field in fields(Arrays) if field.name != "vector_weights"])
def test_arrays_that_do_not_fit_are_refused(folder: Path, name: str) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    arrays[name] = arrays[name][1:]
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match="does not fit or is not finite"):
        read(folder, "an-encoder")


@pytest.mark.parametrize(("name", "value"), [("wave_weights", np.nan), ("surface_scale", 0.0)])
def test_numbers_that_cannot_be_are_refused(folder: Path, name: str, value: float) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    arrays[name][0] = value
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match=f"is damaged .{name}"):
        read(folder, "an-encoder")


def test_a_missing_array_is_named(folder: Path) -> None:
    arrays = load_file(folder / ARRAYS_FILE)
    del arrays["phases"]
    save_file(arrays, folder / ARRAYS_FILE)
    with pytest.raises(DataError, match="lacks phases"):
        read(folder, "an-encoder")
