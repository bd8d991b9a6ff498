"""What the encoder reads of a text: head and tail between the special tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from serve_app.core import CatalogueError
from serve_app.encoder.tokens import HEAD_TOKENS, TAIL_TOKENS, WINDOW_CHARS, HeadTail
from tests.properties import examples

CLS, SEP = 2, 3


def text_of(num_words: int) -> str:
    return " ".join(f"w{index % 100}" for index in range(num_words))


def ids_of(num_words: int) -> list[int]:
    return [4 + index % 100 for index in range(num_words)]


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_words=st.integers(0, 5000))
def test_long_and_short_texts_give_head_and_tail_between_special_tokens(encoder_dir: Path, num_words: int) -> None:
    words = ids_of(num_words)
    kept = words if num_words <= HEAD_TOKENS + TAIL_TOKENS else words[:HEAD_TOKENS] + words[-TAIL_TOKENS:]
    assert HeadTail(encoder_dir / "tokenizer.json").ids(text_of(num_words)) == [CLS, *kept, SEP]


def test_text_between_one_and_two_windows_is_read_whole(encoder_dir: Path) -> None:
    text = "w7 " + " " * WINDOW_CHARS + "w9"
    assert HeadTail(encoder_dir / "tokenizer.json").ids(text) == [CLS, 11, 13, SEP]


def test_blank_megabyte_is_an_empty_text(encoder_dir: Path) -> None:
    assert HeadTail(encoder_dir / "tokenizer.json").ids(" " * 1_000_000) == [CLS, SEP]


def test_missing_tokenizer_and_one_of_another_family_are_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"tokenizer.json is missing"):
        HeadTail(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CatalogueError, match=r"has no \[CLS\] token"):
        HeadTail(tmp_path / "tokenizer.json")
