"""A conversion that fails says why; the tokenizer gets back what transformers drops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from serve_app import catalogue
from serve_app.catalogue.conversion import convert_in_child, explain
from serve_app.catalogue.convert import end_token_ids, restore_pre_tokenizer
from serve_app.core import CatalogueError


@dataclass
class Loaded:
    """As transformers holds a tokenizer it has read from a GGUF."""

    backend_tokenizer: Tokenizer

    def get_vocab(self) -> dict[str, int]:
        return {"<end>": 7, "<text-end>": 3}


@pytest.fixture
def loaded() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Loaded(tokenizer)


def words(loaded: Any, text: str) -> list[str]:
    return [word for word, _ in loaded.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def test_failed_child_says_its_last_line(world: Any, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="Converting tiny failed with: ValueError: not enough values"):
        convert_in_child(catalogue.entry("tiny"), tmp_path, tmp_path / "target")


@pytest.mark.parametrize(
    ("returncode", "stderr", "says"),
    [
        (-9, "", "ended by signal 9: it needs about"),
        (1, "OSError: [Errno 28] No space left on device", "disk is full while converting tiny"),
        (1, "", "failed with: no message"),
    ],
)
def test_each_end_of_a_child_is_one_sentence(world: Any, returncode: int, stderr: str, says: str) -> None:
    assert says in explain(catalogue.entry("tiny"), returncode, stderr)


def test_smollm_cuts_digits_apart_first(loaded: Any) -> None:
    assert words(loaded, "\n   12") == ["ĊĠĠ", "Ġ12"]
    restore_pre_tokenizer(loaded, "smollm")
    assert words(loaded, "\n   12") == ["ĊĠĠĠ", "1", "2"]


def test_qwen_composes_accents_first(loaded: Any) -> None:
    restore_pre_tokenizer(loaded, "qwen2")
    assert loaded.backend_tokenizer.normalizer.normalize_str("e\u0301") == "\u00e9"


def test_tokenizer_of_unknown_kind_is_refused_rather_than_cut_wrongly(loaded: Any) -> None:
    with pytest.raises(ValueError, match="pre-tokenizer 'llama-bpe' is not known"):
        restore_pre_tokenizer(loaded, "llama-bpe")


def test_end_tokens_are_looked_up_in_order_and_a_missing_one_is_named(loaded: Any) -> None:
    assert end_token_ids(loaded, ["<end>", "<text-end>"]) == [7, 3]
    with pytest.raises(ValueError, match="<stop>"):
        end_token_ids(loaded, ["<end>", "<stop>"])
