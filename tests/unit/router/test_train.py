"""Training: labels are data, runs repeat, probabilities are calibrated, bad sets are refused."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import ConfigError, DataError, Message
from serve_app.router import DomainRouter, Row, evaluate, read_rows
from serve_app.router.artifact import RECORD_FILE, read, write
from serve_app.training.router import Abstention, Trained, train
from serve_app.training.router.calibrate import fit_temperature, floor_for, pick_floor, rejected
from serve_app.training.router.classifiers import FEW_ROWS, named
from serve_app.training.router.fit_examples import MAX_ROWS
from serve_app.training.router.folds import source_folds

WriteRows = Callable[[Path, Sequence[dict[str, Any]]], Path]


def two_labels(num_rows: int = 6) -> list[dict[str, Any]]:
    rows = [{"text": f"invoice tax ledger{index}", "label": "finance"} for index in range(num_rows)]
    return rows + [{"text": f"goal match referee{index}", "label": "sport"} for index in range(num_rows)]


def test_other_labels_need_no_code(tmp_path: Path, make_rows: WriteRows, encoder: Any) -> None:
    trained = train([make_rows(tmp_path / "rows.jsonl", two_labels())], encoder)
    router = DomainRouter(trained.artifact, encoder)
    assert router.labels == ("finance", "sport")
    assert router.floor == 0  # nothing is `general` here, so no row gains from a floor
    assert [score.label for score in router.score_texts(["tax invoice", "match goal"])] == ["finance", "sport"]


def test_the_same_run_gives_the_same_bytes(rows_file: Path, trained: Trained, folder: Path, encoder: Any) -> None:
    again = folder.parent / "again"
    write(train([rows_file], encoder, "mixture", abstention=Abstention(floor=0.4)).artifact, again)
    assert [path.read_bytes() for path in sorted(again.iterdir())] == [
        path.read_bytes() for path in sorted(folder.iterdir())
    ]


def test_the_card_names_data_seed_and_figures(rows_file: Path, trained: Trained) -> None:
    card = trained.artifact.card
    (data,) = card["data"]
    assert (data["file"], data["rows"], len(data["sha256"]), card["seed"]) == (rows_file.name, 40, 64, 0)
    assert {"random_folds", "source_folds", "ece_before", "ece_after"} <= card["validation"].keys()


def test_a_trained_router_is_right_on_its_own_domains(router: DomainRouter, rows_file: Path) -> None:
    figures = evaluate(router, read_rows(rows_file))
    assert figures["accuracy"] > 0.95
    assert {"accuracy", "per_label", "p50_ms", "p99_ms", "ece", "macro_source", "confusion"} <= figures.keys()
    assert figures["per_label"]["legal"].keys() == {"precision", "recall", "f1", "support"}
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def test_progress_reaches_the_end_of_each_stage(rows_file: Path, encoder: Any) -> None:
    seen: dict[str, tuple[int, int]] = {}
    train(
        [rows_file], encoder, "mixture", on_progress=lambda stage, done, total: seen.__setitem__(stage, (done, total))
    )
    assert seen == {"encode": (40, 40), "validate": (7, 7), "fit": (1, 1)}


def test_too_few_rows_or_labels_are_refused(tmp_path: Path, make_rows: WriteRows, encoder: Any) -> None:
    few = make_rows(tmp_path / "few.jsonl", [*two_labels(), {"text": "one cake", "label": "food"}])
    with pytest.raises(DataError, match="Label 'food' has one row: give each label at least two"):
        train([few], encoder)
    single = make_rows(tmp_path / "one.jsonl", two_labels()[:6])
    with pytest.raises(DataError, match="at least two labels"):
        train([single], encoder)


@pytest.mark.parametrize(
    ("abstention", "option"), [({"floor": 1.5}, "--floor"), ({"false_rejection": -0.1}, "--false")]
)
def test_abstention_outside_its_range_is_refused(abstention: dict[str, float], option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Abstention(**abstention)


def test_an_unknown_classifier_is_refused_with_the_known_ones(rows_file: Path, encoder: Any) -> None:
    with pytest.raises(ConfigError, match=r"--classifier 'forest' is unknown: use auto or one of tfidf, linear"):
        train([rows_file], encoder, "forest")


@pytest.mark.parametrize(
    ("num_rows", "expected"), [(10, "few-shot"), (FEW_ROWS + 1, "mixture"), (MAX_ROWS // 2 + 1, "linear")]
)
def test_the_size_picks_the_classifier(num_rows: int, expected: str) -> None:
    rows = [Row("a", label) for label in ("x", "y") for _ in range(num_rows)]
    assert named("auto", rows) == expected


def test_words_are_trained_without_the_encoder(rows_file: Path, encoder: Any) -> None:
    trained = train([rows_file], encoder, "tfidf")
    assert encoder.encoded == []
    router = DomainRouter(trained.artifact, encoder)
    assert router.score_texts(["the landlord and the court"])[0].label == "legal"
    assert encoder.encoded == []


def test_texts_without_a_word_are_no_rows_for_words(tmp_path: Path, make_rows: WriteRows, encoder: Any) -> None:
    rows = [{"text": text, "label": label} for label in "ab" for text in ("?", "x y", "1")]
    with pytest.raises(DataError, match="No training text has a word of two letters"):
        train([make_rows(tmp_path / "rows.jsonl", rows)], encoder, "tfidf")


def test_words_are_served_beside_any_encoder_and_still_give_a_vector(
    rows_file: Path, encoder: Any, other_encoder: Any
) -> None:
    router = DomainRouter(train([rows_file], encoder, "tfidf").artifact, other_encoder)
    score, vector = asyncio.run(router.score_with_vector((Message("user", "landlord court"),)))
    assert (score.label, vector.shape) == ("legal", (64,))


def test_five_examples_a_label_and_its_name_make_a_router(tmp_path: Path, make_rows: WriteRows, encoder: Any) -> None:
    names = {"legal": "court landlord sue", "lost_card": "stolen missing gone", "general": "cake holiday poem"}
    rows = [{"text": text, "label": label} for label, words in names.items() for text in words.split()]
    trained = train([make_rows(tmp_path / "rows.jsonl", rows)], encoder)
    assert (trained.artifact.card["classifier"], trained.artifact.card["label_names"]) == ("few-shot", True)
    router = DomainRouter(trained.artifact, encoder)
    probabilities = router.score_texts(["card"])[0].probabilities
    assert max(probabilities, key=probabilities.__getitem__) == "lost_card"  # a word of the name alone
    assert trained.validation["random_folds"]["rows"] == len(rows)  # names are never held out


def test_a_stated_share_of_false_rejections_sets_the_floor(rows_file: Path, encoder: Any) -> None:
    floors = []
    for share in (0.0, 0.1, 0.5):
        trained = train([rows_file], encoder, "mixture", abstention=Abstention(false_rejection=share))
        low, high = trained.validation["false_rejection_95"]
        assert low <= trained.validation["false_rejection"] <= high
        floors.append(trained.artifact.floor)
    assert floors == sorted(floors)
    assert floors[0] < floors[-1]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_the_floor_keeps_its_promise_where_the_fallback_alone_does(seed: int, share: float, fallback: bool) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.3, 0.3, 0.3], 50).astype(np.float32)
    labels = np.append(random.integers(0, 3, 49), 1)
    index = 0 if fallback else None
    floor = floor_for(probabilities, labels, index, share)
    known = labels != index if fallback else np.ones(50, dtype=bool)
    promised = int(share * known.sum())
    least = rejected(probabilities, 0.0, index)[known].sum()
    assert rejected(probabilities, floor, index)[known].sum() <= max(promised, least)


def test_an_unwritable_folder_is_refused(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write the router"):
        write(trained.artifact, tmp_path / "file" / "router")


def test_overconfident_mixtures_get_a_temperature_above_one() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    sure = np.where((random.random(400) < 0.8)[:, None] == (labels[:, None] == [0, 1]), 0.99, 0.01)
    found = fit_temperature(sure.astype(np.float32), labels)
    assert found > 2  # 99 % stated, 80 % right


def test_the_floor_is_the_highest_that_costs_no_accuracy() -> None:
    probabilities = np.array([[0.55, 0.45], [0.45, 0.55], [0.38, 0.62]], dtype=np.float32)
    labels = np.array([0, 0, 1])
    assert pick_floor(probabilities, labels, fallback_index=0) == pytest.approx(0.6)  # 0.65 would lose the last row
    assert pick_floor(probabilities, labels, fallback_index=None) == 0


def test_a_source_of_a_label_is_held_out_whole() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    assert source_folds(labels, ["a", "a", "b", "c", None], 2).tolist() == [0, 0, 1, -1, -1]


def test_the_record_is_readable_json(folder: Path) -> None:
    assert read(folder).encoder_digest == "word-encoder"
    assert (folder / RECORD_FILE).read_text().startswith("{\n")
