"""Where a text may be cut: after a sentence, else after a word, else anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]
"""Start and end in a text, the end not included."""

_SENTENCE_END = re.compile(r"[.!?][\"')\]”’]*+\s++(?=[^\sa-z])|[。！？]++\s*+")
_LINE_END = re.compile(r"\n\s*+")


def sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Spans of the sentences of `text[start:end]`, without the space after them.

    >>> [("One. Two?"[a:b]) for a, b in sentences("One. Two?", 0, 9)]
    ['One.', 'Two?']
    """
    yield from _parts(_SENTENCE_END, text, start, end)


def lines(text: str, start: int, end: int) -> Iterator[Span]:
    """Spans of the lines of `text[start:end]` that are not empty."""
    yield from _parts(_LINE_END, text, start, end)


def _parts(ends: re.Pattern[str], text: str, start: int, end: int) -> Iterator[Span]:
    at = start
    for found in ends.finditer(text, start, end):
        yield from trimmed(text, at, found.end())
        at = found.end()
    yield from trimmed(text, at, end)


def trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """The span of `text[start:end]` without the space around it; none where it is space only."""
    part = text[start:end]
    if word := part.strip():
        begin = start + len(part) - len(part.lstrip())
        yield begin, begin + len(word)
