"""`headrace router train|compare|add-label|evaluate` from the outside, on an encoder that counts letters."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from serve_app.cli import router as commands

TEXTS = {"vowels": ["aaaa ee", "eea iou", "ooo aa", "uuu eia"], "others": ["xxx zz", "kkk rt", "tttz", "rrr kx"]}


class LetterEncoder:
    """One dimension a letter, so that texts of the same letters are alike."""

    digest = "letters"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        found = np.array([[text.count(chr(97 + place)) + 0.01 for place in range(26)] for text in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "encoder_of", lambda name: LetterEncoder())


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for label, texts in TEXTS.items() for text in texts]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def folder(rows: Path, tmp_path: Path) -> Path:
    run("train", "--data", rows, "--out", tmp_path / "router")
    return tmp_path / "router"


def run(*arguments: object) -> str:
    return CliRunner().invoke(commands.app, [str(one) for one in arguments], catch_exceptions=False).stdout


def answer(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_train_says_which_classifier_it_took_and_how_many_it_turns_away(rows: Path, tmp_path: Path) -> None:
    command = ("train", "--data", rows, "--out", tmp_path / "r")
    found = answer(*command, "--false-rejection", "0.1")
    assert (found["classifier"], found["labels"]) == ("few-shot", ["others", "vowels"])
    assert "false_rejection" in found["validation"]
    assert answer(*command, "--classifier", "tfidf")["classifier"] == "tfidf"
    assert "Classifier few-shot." in run(*command)


def test_compare_prints_one_line_a_classifier(rows: Path) -> None:
    command = ("compare", "--data", rows, "--test", rows, "--classifier", "linear", "--classifier", "kernel")
    lines = answer(*command)["classifiers"]
    assert [line["classifier"] for line in lines] == ["linear", "kernel"]
    assert lines[0]["accuracy"]["value"] > 0.8
    assert "kernel" in run(*command)


def test_a_label_is_added_and_its_confusion_shown(folder: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text("\n".join(json.dumps({"text": text, "label": "new"}) for text in ("mmm n", "nnn mm", "mnmn")))
    command = ("add-label", "--router", folder, "--label", "new", "--data", more, "--out", tmp_path / "longer")
    found = answer(*command)
    assert found["after"]["new"] == {"new": 3}
    assert found["rows"] == 3
    assert "called new" in run(*command)
    measured = answer("evaluate", "--data", more, "--router", tmp_path / "longer")
    assert measured["accuracy"] == 1


def test_rows_of_another_label_are_no_data_of_a_new_one(folder: Path, rows: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        commands.app,
        ["add-label", "--router", str(folder), "--label", "new", "--data", str(rows), "--out", str(tmp_path / "x")],
    )
    assert result.exit_code == 1
    assert "\"label\" 'vowels' is unknown" in str(result.exception)


def test_evaluate_prints_figures(folder: Path, rows: Path) -> None:
    assert answer("evaluate", "--data", rows, "--router", folder)["accuracy"] == 1
    assert "Calibration error" in run("evaluate", "--data", rows, "--router", folder)
