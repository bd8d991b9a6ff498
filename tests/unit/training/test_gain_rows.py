"""Rows of two models' judgements: read, joined with texts, and refused by place and field."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from serve_app.core import DataError
from serve_app.training.cascade.outcomes import LabelledAttempt
from serve_app.training.gain import join_texts, read_gain_rows, read_texts

ROW = {"text": "How far?", "small_right": 0, "large_right": 1}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def attempt(name: str, large_right: float | None) -> LabelledAttempt:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    return LabelledAttempt.model_validate(
        {
            "id": name,
            "prompt_tokens": 3,
            "tokens": [[-0.1, 0.2, 1.0, 5]],
            "small_right": 0.25,
            "large_right": large_right,
            "small_usage": usage,
        }
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_are_read_plain_and_compressed(tmp_path: Path, name: str) -> None:
    found = read_gain_rows(write(tmp_path / name, ROW, "", {**ROW, "id": "b", "group": "g", "small_right": 0.5}))
    assert [(row.text, row.small_right, row.large_right, row.id, row.group) for row in found] == [
        ("How far?", 0, 1, None, None),
        ("How far?", 0.5, 1, "b", "g"),
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({**ROW, "small_right": 2}, "line 2: small_right: "),
        ({**ROW, "surprise": 1}, "line 2: surprise: "),
        ({**ROW, "text": ""}, "line 2: text: "),
        ({"text": "x", "small_right": 1}, "line 2: large_right: Field required"),
        ("{", "line 2: row: Invalid JSON"),
    ],
)
def test_a_bad_row_is_named_by_line_and_field(tmp_path: Path, row: dict[str, Any] | str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_gain_rows(write(tmp_path / "rows.jsonl", ROW, row))


def test_a_file_without_rows_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'holds no rows; write one \{"text"'):
        read_gain_rows(write(tmp_path / "rows.jsonl", ""))


@pytest.mark.parametrize("name", ["absent.jsonl", "broken.jsonl.gz"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.jsonl.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        read_gain_rows(tmp_path / name)


def test_attempts_get_their_texts_and_unjudged_ones_are_left_out(tmp_path: Path) -> None:
    texts = read_texts(write(tmp_path / "texts.jsonl", {"id": "a", "text": "one"}, {"id": "b", "text": "two"}))
    found = join_texts([attempt("a", 1.0), attempt("b", None)], texts)
    assert [(row.text, row.small_right, row.large_right, row.id) for row in found] == [("one", 0.25, 1.0, "a")]


def test_an_attempt_without_text_is_named() -> None:
    with pytest.raises(DataError, match="No text for the attempt 'a'"):
        join_texts([attempt("a", 1.0)], {})


def test_attempts_that_the_large_model_never_answered_teach_nothing() -> None:
    with pytest.raises(DataError, match="No attempt has"):
        join_texts([attempt("a", None)], {"a": "one"})


def test_an_id_with_two_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="id 'a' has two texts"):
        read_texts(write(tmp_path / "texts.jsonl", {"id": "a", "text": "one"}, {"id": "a", "text": "two"}))
