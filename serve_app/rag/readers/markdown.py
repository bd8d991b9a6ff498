"""Markdown: CommonMark with tables, read through the page that it stands for."""

from __future__ import annotations

from serve_app.rag.readers.html import read_html
from serve_app.rag.reading import Reading


def read_markdown(text: str, max_chars: int) -> Reading:
    """Headings, paragraphs, items, rows and code; links and pictures leave their words."""
    from markdown_it import MarkdownIt

    return read_html(MarkdownIt("commonmark").enable("table").render(text), max_chars)
