"""Plain text: paragraphs between empty lines."""

from __future__ import annotations

import re

from serve_app.rag.reading import Block, Reading, Unreadable, clean, too_long

_EMPTY_LINES = re.compile(r"\n[^\S\n]*+\n\s*+")


def read_text(text: str, max_chars: int) -> Reading:
    """Of `text`, its paragraphs; the text itself is kept but for control characters."""
    text = clean(text).strip()
    if len(text) > max_chars:
        raise Unreadable(too_long(max_chars))
    blocks, start = [], 0
    for gap in _EMPTY_LINES.finditer(text):
        blocks.append(Block("paragraph", start, start + len(text[start : gap.start()].rstrip())))
        start = gap.end()
    if text:
        blocks.append(Block("paragraph", start, len(text)))
    return Reading(text, tuple(blocks))
