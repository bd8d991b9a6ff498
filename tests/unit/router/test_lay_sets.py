"""Our own texts: enough of them, and none quotes a test set."""

import re
from collections import Counter
from pathlib import Path

import pytest

from serve_app.router import Row, read_rows

GRAM_WORDS = 5
LABELS = {"legal", "medical", "code", "general"}


def grams(text: str) -> set[tuple[str, ...]]:
    """Runs of five words, case and punctuation aside."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + GRAM_WORDS]) for start in range(len(words) - GRAM_WORDS + 1)}


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.fixture(scope="module")
def ours(repo: Path) -> list[Row]:
    folder = repo / "serve_app" / "training" / "data"
    names = ("router_lay", "router_glossary", "router_exam")
    return [row for name in names for row in read_rows(folder / f"{name}.jsonl", LABELS)]


@pytest.fixture(scope="module")
def lay_test(repo: Path) -> list[Row]:
    return read_rows(repo / "tests" / "data" / "router_lay_test.jsonl", LABELS)


def assert_disjoint(ours: list[Row], tested: list[Row]) -> None:
    seen = {gram for row in tested for gram in grams(row.text)}
    whole = {plain(row.text) for row in tested}
    quotes = {row.text: shared for row in ours if (shared := grams(row.text) & seen)}
    assert not quotes
    assert not [row.text for row in ours if plain(row.text) in whole]


def test_no_training_text_shares_five_words_in_a_row_with_the_lay_test(ours: list[Row], lay_test: list[Row]) -> None:
    assert_disjoint(ours, lay_test)


@pytest.mark.parametrize("name", ["test", "test_ood"])
def test_no_training_text_shares_five_words_in_a_row_with_a_public_test_set(
    ours: list[Row], data_dir: Path, name: str
) -> None:
    assert_disjoint(ours, read_rows(data_dir / "routing" / f"{name}.jsonl", LABELS))


def test_each_label_has_fifty_texts_in_training_and_test(ours: list[Row], lay_test: list[Row]) -> None:
    for rows in ([row for row in ours if row.source == "lay"], [row for row in lay_test if row.source == "lay"]):
        counts = Counter(row.label for row in rows)
        assert counts.keys() == LABELS
        assert min(counts.values()) >= 50


def test_no_text_of_ours_occurs_twice(ours: list[Row], lay_test: list[Row]) -> None:
    for rows in (ours, lay_test):
        texts = Counter(plain(row.text) for row in rows)
        assert not [text for text, times in texts.items() if times > 1]
