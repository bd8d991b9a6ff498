"""What a reader makes of a document: plain text, and where its headings, paragraphs, items and rows lie in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["heading", "paragraph", "item", "row", "code"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""And halves of characters, which a PDF may hold and which cannot be written."""
_TIGHT: frozenset[Kind] = frozenset({"item", "row"})


class Unreadable(Exception):
    """A document that cannot be read. The text goes on after its name: `is encrypted: …`."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of structure: `text[start:end]`, without space around it."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    """Of a heading, 1 to 6; 0: no heading."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document as plain text. Blocks are in order, do not overlap, and hold all of the text but the space between."""

    text: str
    blocks: tuple[Block, ...]
    title: str = ""
    """The document's own; empty: it has none."""
    remarks: tuple[str, ...] = ()
    """What was lost in reading; each goes on after the document's name."""


class Writer:
    """Puts blocks together into a Reading of at most `max_chars` characters."""

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0

    def add(self, kind: Kind, text: str, level: int = 0) -> None:
        """Append a block; text of space only adds nothing. Raises Unreadable past the bound."""
        text = clean(text).strip()
        if not text:
            return
        gap = self._gap(kind)
        start = self._length + len(gap)
        self._length = start + len(text)
        if self._length > self._max_chars:
            raise Unreadable(too_long(self._max_chars))
        self._parts += (gap, text)
        self._blocks.append(Block(kind, start, self._length, level))

    def reading(self, title: str = "", remarks: tuple[str, ...] = ()) -> Reading:
        """All that was added. The title is the first heading's where none is given."""
        text = "".join(self._parts)
        first = next((block for block in self._blocks if block.kind == "heading"), None)
        if not title.strip() and first:
            title = text[first.start : first.end]
        return Reading(text, tuple(self._blocks), one_line(title)[:300], remarks)

    def _gap(self, kind: Kind) -> str:
        if not self._blocks:
            return ""
        return "\n" if kind in _TIGHT and self._blocks[-1].kind == kind else "\n\n"


def clean(text: str) -> str:
    """Without control characters and halves of characters, and with one kind of line end.

    >>> clean("a\\x00b\\r\\nc")
    'ab\\nc'
    """
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str) -> str:
    """With single blanks for all space, and no control characters.

    >>> one_line("  two\\n  words ")
    'two words'
    """
    return " ".join(clean(text).split())


def too_long(max_chars: int) -> str:
    """What is said of a document with more text than that."""
    return f"has more than {max_chars:,} characters of text: divide it, or raise rag.max_document_mb."


def too_slow(timeout_s: float) -> str:
    """What is said of a document that takes longer than that."""
    return f"takes longer than {timeout_s:g} s to read (rag.document_timeout_s): divide it or save it as plain text."
