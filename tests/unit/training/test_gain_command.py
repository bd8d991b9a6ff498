"""`headrace router gain-train` from the outside, on an encoder that knows nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from serve_app.cli import gain as command
from serve_app.confidence.gain import read
from serve_app.core import DataError


class FlatEncoder:
    """The same vector for every text."""

    digest = "flat"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 4), 0.5, dtype=np.float32)


@pytest.fixture(autouse=True)
def flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "encoder_of", lambda name: FlatEncoder())


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        {"id": f"q{index}", "text": "add 3 and 4 and 5" if index % 3 else "say hi", "small_right": int(index % 3 == 0)}
        for index in range(120)
    ]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(command.gain_train)
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False).stdout


def test_it_writes_a_pre_router_and_says_how_good_it_is(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", [{**row, "large_right": 1} for row in rows])
    arguments = ("--data", data, "--out", tmp_path / "gain", "--held-out", tmp_path / "held.jsonl")
    found = json.loads(run(*arguments, "--json"))
    assert (found["rows"], found["helped"], found["auroc"]) == (120, pytest.approx(2 / 3), pytest.approx(1))
    assert "AUROC 1.000" in run(*arguments)
    model = read(tmp_path / "gain", "flat")
    assert (
        model.probability(np.full(4, 0.5), "add 3 and 4 and 5")
        > 0.9
        > 0.1
        > model.probability(np.full(4, 0.5), "say hi")
    )
    held = [json.loads(line) for line in (tmp_path / "held.jsonl").read_text().splitlines()]
    assert [row["id"] for row in held] == [row["id"] for row in rows]
    assert held[1]["gain"] > 0.9 > 0.1 > held[0]["gain"]


def test_labelled_attempts_are_joined_with_their_texts(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    attempts = [
        {
            "id": row["id"],
            "prompt_tokens": 3,
            "tokens": [[-0.1, 0.2, 1.0, 5]],
            "small_right": row["small_right"],
            "large_right": 1,
            "small_usage": usage,
        }
        for row in rows
    ]
    data = write(tmp_path / "attempts.jsonl", attempts)
    texts = write(tmp_path / "texts.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows])
    found = json.loads(run("--data", data, "--texts", texts, "--out", tmp_path / "gain", "--json"))
    assert found["rows"] == 120


def test_held_out_rows_need_ids(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    bare = [{"text": row["text"], "small_right": row["small_right"], "large_right": 1} for row in rows]
    data = write(tmp_path / "rows.jsonl", bare)
    with pytest.raises(DataError, match="give every row of --data one"):
        run("--data", data, "--out", tmp_path / "gain", "--held-out", tmp_path / "held.jsonl")
