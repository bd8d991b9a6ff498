"""Classifiers side by side: the same rows, the same floor rule, one line each."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.core import DataError
from serve_app.router import Row, read_rows
from serve_app.training.router import CLASSIFIERS, Compared, compare

TEST = [Row("landlord court", "legal"), Row("doctor rash", "medical"), Row("cake song", "general")]


def silent(stage: str, done: int, total: int) -> None:
    """No progress bar."""


def run(train: list[Row], test: list[Row], encoder: Any, names: list[str], fallback: str = "general") -> list[Compared]:
    return compare(train, test, encoder, names, 0.05, fallback, 0, silent)


def test_every_classifier_gets_a_line_and_texts_are_encoded_once(rows_file: Path, encoder: Any) -> None:
    rows = read_rows(rows_file)
    found = run(rows, TEST, encoder, list(CLASSIFIERS))
    assert [one.classifier for one in found] == list(CLASSIFIERS)
    for one in found:
        assert one.accuracy.of == 3
        assert (one.in_scope.of, one.false_rejection.of) == (2, 2)
        assert one.out_of_scope_recall is not None and one.out_of_scope_recall.of == 1
        assert one.num_bytes > 100
        assert 0 < one.p50_ms <= one.p99_ms
        assert one.as_dict()["accuracy"].keys() == {"value", "interval_95", "rows"}
    assert encoder.encoded.count(rows[0].text) == 1


def test_rows_of_no_known_label_are_out_of_scope(rows_file: Path, encoder: Any) -> None:
    known = [row for row in read_rows(rows_file) if row.label != "general"]
    test = [*TEST[:2], Row("cake", "oos"), Row("river", "never seen")]
    (found,) = run(known, test, encoder, ["kernel"], fallback="oos")
    assert found.out_of_scope_recall is not None
    assert (found.out_of_scope_recall.of, found.in_scope.of) == (2, 2)


def test_without_rows_out_of_scope_there_is_no_recall(rows_file: Path, encoder: Any) -> None:
    (found,) = run(read_rows(rows_file), TEST[:2], encoder, ["linear"])
    assert found.out_of_scope_recall is None


def test_auto_is_the_classifier_it_stands_for(rows_file: Path, encoder: Any) -> None:
    assert [one.classifier for one in run(read_rows(rows_file), TEST, encoder, ["auto", "few-shot"])] == ["few-shot"]


def test_a_test_file_of_other_labels_is_refused(rows_file: Path, encoder: Any) -> None:
    with pytest.raises(DataError, match="No test row has a label"):
        run(read_rows(rows_file), [Row("a", "b")], encoder, ["linear"])
