"""Labelled queries: what is read, and what each bad row is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import DataError
from serve_app.router import Row, read_rows

GOOD = b'{"text": "who pays?", "label": "legal"}'


def test_optional_fields_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a", "label": "x", "source": "s", "weight": 2}\r\n\n' + GOOD)
    assert read_rows(path) == [Row("a", "x", "s", 2.0), Row("who pays?", "legal")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"text": "a"', "not valid JSON"),
        (b'["a", "b"]', "expected an object"),
        (b'{"label": "x"}', 'the field "text" is missing'),
        (b'{"text": "a"}', 'the field "label" is missing'),
        (b'{"text": " ", "label": "x"}', '"text" must be a string that is not empty'),
        (b'{"text": "a", "label": 3}', '"label" must be a string'),
        (b'{"text": "\\ud800", "label": "x"}', "surrogate"),
        (b'{"text": "a", "label": "x", "weight": 0}', '"weight" must be a number above 0'),
        (b'{"text": "a", "label": "x", "weight": NaN}', '"weight" must be a number above 0'),
        (b'{"text": "a", "label": "x", "source": 3}', '"source" must be a string'),
        (b'{"text": "\xff", "label": "x"}', "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_row_names_file_line_and_fault(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + b"\n\n" + line + b"\n")
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert f"{path}, line 3: " in str(error.value)
    assert complaint in str(error.value)


def test_an_unknown_label_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match=r"line 1: \"label\" 'legal' is unknown to this router; it knows code, general"):
        read_rows(path, {"general", "code"})


def test_an_empty_or_absent_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="has no rows"):
        read_rows(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="Cannot read"):
        read_rows(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="Cannot read"):
        read_rows(tmp_path)


@given(st.binary(max_size=80))
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "rows.jsonl"
    path.write_bytes(data)
    try:
        assert read_rows(path)
    except DataError as error:
        assert str(path) in str(error)
