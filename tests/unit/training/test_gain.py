"""The pre-router's training: finds what is there, admits what is not, and repeats itself exactly."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.confidence.gain import Arrays, GainModel, read, write
from serve_app.core import DataError
from serve_app.router.domain import TextEncoder
from serve_app.training.gain import GainRow, encoded, fit_gain, views
from serve_app.training.gain.regression import STRENGTHS, fit
from serve_app.training.gain.train import platt

WORDS = ["river", "cake", "garden", "window", "letter", "music", "doctor", "engine", "summer", "market"]


class HashEncoder:
    """A vector drawn from the text's digest: carries nothing about the text."""

    digest = "hash-encoder"

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            row = np.random.default_rng(seed).standard_normal(16)
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32)


class FirstWordEncoder:
    """One dimension a word, for the text's first."""

    digest = "first-word"

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.eye(len(WORDS), dtype=np.float32)[[WORDS.index(text.split()[0]) for text in texts]]


def rows(num_rows: int, hard_share: float = 0.5, informative: bool = True, **more: Any) -> list[GainRow]:
    """Texts with many numbers are those where the large model helps in four of five, the others in one of ten."""
    random = np.random.default_rng(1)
    found = []
    for index in range(num_rows):
        hard = random.random() < hard_share
        chance = (0.8 if hard else 0.1) if informative else 0.4
        words = random.choice(WORDS, 6).tolist()
        numbers = [str(random.integers(2, 99)) for _ in range(5 if hard else 1)]
        text = " ".join([*words, *numbers]) + f" {index}?"
        found.append(GainRow(text=text, small_right=float(random.random() >= chance), large_right=1.0, **more))
    return found


def trained(made: Sequence[GainRow], encoder: TextEncoder | None = None, seed: int = 0) -> GainModel:
    encoder = encoder or HashEncoder()
    return fit_gain(made, encoded(made, encoder), encoder.digest, seed).model


def test_what_counts_in_a_text_is_found() -> None:
    model = trained(rows(400))
    encoder = HashEncoder()
    words = "river cake garden music letter doctor"
    many, few = f"{words} 12 44 5 81 7 300?", f"{words} 5 301?"
    high, low = (model.probability(encoder.encode([text])[0], text) for text in (many, few))
    assert high > 0.6 > 0.3 > low
    found = model.card["held_out"]
    assert found["auroc"] > 0.75
    assert found["apgr"] > 0.65
    assert found["ece"] < 0.12


def test_where_nothing_is_to_be_found_the_base_rate_is_said() -> None:
    trained = fit_gain(made := rows(400, informative=False), encoded(made, HashEncoder()), "d", seed=0)
    assert abs(trained.model.card["held_out"]["auroc"] - 0.5) < 0.1
    assert np.std(trained.held_out) < 0.1
    assert np.mean(trained.held_out) == pytest.approx(trained.model.card["helped"], abs=0.02)


def test_the_same_rows_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(trained(rows(120), seed=3), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_serving_says_what_training_saw(tmp_path: Path) -> None:
    made = rows(150)
    seen = encoded(made, HashEncoder())
    trained = fit_gain(made, seen, "hash-encoder", seed=0)
    write(trained.model, tmp_path / "gain")
    served = read(tmp_path / "gain", "hash-encoder")
    gained = np.array([row.large_right - row.small_right for row in made])
    again = fit(seen, gained, [trained.model.card["strength"]], 0)[0]
    stated = trained.model.calibration.probability(again.scores(seen))
    for row, vector, probability in zip(made[:20], seen.vectors, stated, strict=False):
        assert served.probability(vector.astype(np.float32), row.text) == pytest.approx(float(probability), abs=1e-4)


def test_too_few_rows_are_refused_with_the_number_needed() -> None:
    with pytest.raises(DataError, match="99 rows are too few for a pre-router: give at least 100"):
        trained(rows(99))


@pytest.mark.parametrize("small", [0.0, 1.0])
def test_rows_that_are_all_alike_are_refused(small: float) -> None:
    alike = [row.model_copy(update={"small_right": small}) for row in rows(120)]
    with pytest.raises(DataError, match=r"The large model helps in (0|120) of 120 rows"):
        trained(alike)


def test_rows_of_a_group_are_held_out_together() -> None:
    """Each group has texts of its own and a gain of its own: known groups are easy, unknown ones are not."""
    random = np.random.default_rng(0)
    made = [
        GainRow(text=f"{WORDS[group]} {index % 4}", small_right=float(group % 2), large_right=1.0, group=str(group))
        for index, group in enumerate(random.integers(0, 10, 300).tolist())
    ]
    apart = [row.model_copy(update={"group": None}) for row in made]
    whole, mixed = (trained(part, FirstWordEncoder()).card["held_out"]["auroc"] for part in (made, apart))
    assert mixed > 0.95
    assert whole < mixed - 0.2


def test_one_decomposition_gives_every_strength_whichever_side_is_longer() -> None:
    encoder = HashEncoder()
    for num_rows in (60, 600):
        made = rows(num_rows)
        gained = np.array([row.large_right - row.small_right for row in made])
        seen = encoded(made, encoder)
        weak, strong = fit(seen, gained, (STRENGTHS[0], STRENGTHS[-1]), 0)
        residuals = [float(((one.scores(seen) - gained) ** 2).mean()) for one in (weak, strong)]
        assert residuals[0] < residuals[1] <= gained.var() + 1e-9
        assert np.mean(weak.scores(seen)) == pytest.approx(gained.mean())


def test_a_count_that_never_varies_is_harmless() -> None:
    made = [row.model_copy(update={"text": "same"}) for row in rows(120)]
    model = trained(made)
    assert all(np.isfinite(getattr(model.arrays, field.name)).all() for field in fields(Arrays))


def test_scores_that_point_the_wrong_way_are_not_used() -> None:
    helped = np.repeat([0.0, 1.0], 50)
    line = platt(-helped, helped)
    assert np.allclose(line.probability(np.array([-1.0, 0.0, 1.0])), 0.5)


def test_platt_keeps_the_base_rate() -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal(500)
    helped = (random.random(500) < 0.2).astype(float)
    helped[scores > 1] = 1.0
    assert platt(scores, helped).probability(scores).mean() == pytest.approx(helped.mean(), abs=1e-3)


def test_views_take_rows_in_order() -> None:
    found = views(["one 1", "two 22", "three"], HashEncoder().encode(["a", "b", "c"]))
    taken = found.take(np.array([2, 0]))
    assert len(taken) == 2
    assert np.array_equal(taken.counts[1], found.counts[0])
    assert np.array_equal(taken.vectors[0], found.vectors[2])
