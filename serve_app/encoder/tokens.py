"""Which tokens of a text the encoder reads: the head and the tail, between the model's own special tokens."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from serve_app.core import CatalogueError

HEAD_TOKENS = 40
TAIL_TOKENS = 24
WINDOW_CHARS = 4096
"""Of a text longer than two windows only its first and last window are tokenised, so 1 MB costs what 8 kB costs."""


class HeadTail:
    """Cuts texts into ids: `head` tokens from the start, and `tail` from the end. Safe to share between threads."""

    def __init__(self, tokenizer_file: Path, head: int = HEAD_TOKENS, tail: int = TAIL_TOKENS) -> None:
        if not tokenizer_file.is_file():
            raise CatalogueError(f"{tokenizer_file} is missing: pull the encoder again with `headrace models pull`.")
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._head, self._tail = head, tail
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()  # the file truncates at 128, which would hide the tail
        self._first_id = self._special("[CLS]", tokenizer_file)
        self._last_id = self._special("[SEP]", tokenizer_file)

    def ids(self, text: str) -> list[int]:
        """`[CLS] head tail [SEP]`: with the default bounds 2 to 66 ids; head and tail never overlap.

        A text of 50 tokens gives 52 ids; one of 1,000 gives 66, of its tokens 1-40 and 977-1,000.
        """
        if len(text) <= 2 * WINDOW_CHARS:
            found = self._encode(text)
            if len(found) > self._head + self._tail:
                found = found[: self._head] + found[len(found) - self._tail :]
        else:
            end = self._encode(text[-WINDOW_CHARS:]) if self._tail else []
            found = self._encode(text[:WINDOW_CHARS])[: self._head] + end[max(0, len(end) - self._tail) :]
        return [self._first_id, *found, self._last_id]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _special(self, token: str, tokenizer_file: Path) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CatalogueError(f"{tokenizer_file} has no {token} token: an encoder of the BERT family is needed.")
        return int(found)
