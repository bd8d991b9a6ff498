import json

import pytest

from serve_app.core import DataError, Message
from serve_app.training.rows import read_rows

GOOD = {"prompt": "a", "completion": "b"}


def write(tmp_path, *records):
    path = tmp_path / "rows.jsonl"
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines))
    return path


def test_both_shapes_of_a_row_are_read(tmp_path):
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    first, second = read_rows(write(tmp_path, GOOD, {"messages": turns}))
    assert (first.messages, first.completion) == ((Message("user", "a"),), "b")
    assert (second.messages, second.completion) == ((Message("system", "s"), Message("user", "u")), "a")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("{", "not valid JSON"),
        ("[1]", "no JSON object"),
        ({}, "prompt must be a non-empty string"),
        ({"prompt": "a"}, "completion must be"),
        ({"prompt": " ", "completion": "b"}, "prompt must be"),
        ({"prompt": 3, "completion": "b"}, "prompt must be"),
        ({"messages": []}, "at least a user turn"),
        ({"messages": [{"role": "user", "content": "u"}] * 2}, "the last of messages"),
        ({"messages": [{"role": "tool", "content": "u"}] * 2}, "needs a role"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "a"}]}, "needs content"),
        (GOOD | {"metrics": ["bleu"]}, "unknown metric 'bleu'"),
        (GOOD | {"metrics": "loss"}, "metrics must be a list"),
        (GOOD | {"choices": ["x", "y"]}, "none of the choices"),
        (GOOD | {"metrics": ["choice"]}, "needs a list of choices"),
        (GOOD | {"group": ""}, "group must be"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, record, said):
    path = write(tmp_path, GOOD, record)
    with pytest.raises(DataError) as refused:
        read_rows(path)
    assert str(refused.value).startswith(f"{path}:2: ")
    assert said in str(refused.value)


def test_an_empty_file_and_a_missing_one_are_said(tmp_path):
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(write(tmp_path, "", ""))
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "nowhere.jsonl")


def test_bytes_that_are_no_utf8_are_said(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        read_rows(path)


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path):
    rows = read_rows(write(tmp_path, {"prompt": "a\u2028b\u0085c", "completion": "d"}))
    assert rows[0].messages[0].content == "a\u2028b\u0085c"
