"""HTML: what a reader of the page would see, by Beautiful Soup on Python's own parser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from serve_app.rag.reading import Kind, Reading, Unreadable, Writer, one_line

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_DROPPED = (
    *("script", "style", "noscript", "template", "nav", "svg", "math", "iframe", "object", "head"),
    *("form", "button", "select", "textarea", "canvas", "audio", "video"),
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAKS = frozenset(_HEADINGS) | {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "footer", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section"),
    *("summary", "table", "tbody", "tfoot", "thead", "tr", "ul"),
}
_MAX_DEPTH = 2_000
"""Tags within one another. Pages stay below 100; Beautiful Soup's cost grows with the square of the depth."""

Event = tuple[Literal["open", "close", "words"], str]


def read_html(text: str, max_chars: int) -> Reading:
    """Headings, paragraphs, items, table rows and preformatted text of a page.

    Scripts, styles, navigation, forms and what is hidden by attribute are dropped. Raises Unreadable where tags are
    nested beyond reason, and for a declaration (`<!…`) that no parser knows.
    """
    import warnings

    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of text that looks like a file's name or like XML: it is read all the same
        try:
            soup = BeautifulSoup(text, "html.parser")
        except ParserRejectedMarkup as error:
            raise Unreadable("has a declaration that is no HTML: mend the page or save it as text.") from error
    title = soup.title.get_text() if soup.title else ""
    page = _Page(Writer(max_chars))
    for what, value in _events(soup):
        page.take(what, value)
    page.flush()
    return page.writer.reading(one_line(title))


def _events(soup: BeautifulSoup) -> Iterator[Event]:
    """Opened and closed tags, and words, in the page's order; no recursion, however deep the page."""
    from bs4 import NavigableString, Tag
    from bs4.element import PreformattedString

    open_tags: list[tuple[Tag, Iterator[object]]] = [(soup, iter(soup.contents))]
    while open_tags:
        tag, children = open_tags[-1]
        child = next(children, None)
        if child is None:
            open_tags.pop()
            yield "close", tag.name
        elif isinstance(child, Tag):
            if _is_seen(child):
                if len(open_tags) >= _MAX_DEPTH:
                    raise Unreadable(
                        f"has tags nested more than {_MAX_DEPTH:,} deep: mend the page or save it as text."
                    )
                open_tags.append((child, iter(child.contents)))
                yield "open", child.name
        elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
            yield "words", str(child)  # comments, declarations and the like are preformatted strings


def _is_seen(tag: Tag) -> bool:
    if tag.name in _DROPPED or tag.has_attr("hidden"):
        return False
    style = str(tag.get("style", "")).replace(" ", "").lower()
    return "display:none" not in style and "visibility:hidden" not in style


class _Page:
    """Gathers words until a tag ends the block, and writes the block down."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._words: list[str] = []
        self._cells: list[str] = []
        self._tags: list[str] = []
        self._kind: Kind = "paragraph"
        self._level = 0
        self._in_pre = self._in_items = self._in_row = 0

    def take(self, what: str, value: str) -> None:
        if what == "words":
            self._words.append(value)
        elif value == "br":
            self._words.append("\n" if self._in_pre else " ")
        elif value in ("td", "th"):
            self._cell(what)
        elif value == "tr":
            self._row(what)
        elif value in _BREAKS:
            self._break(what, value)

    def flush(self) -> None:
        """The words since the last block become one; in a table's row they wait for its end."""
        words, text = self._words, "".join(self._words)
        if self._in_row:
            words.append(" ")
            return
        words.clear()
        if self._in_pre:
            self.writer.add("code", text)
        elif self._level:
            self.writer.add("heading", one_line(text), self._level)
        else:
            self.writer.add("item" if self._in_items else "paragraph", one_line(text))

    def _break(self, what: str, tag: str) -> None:
        self.flush()
        step = 1 if what == "open" else -1
        if tag in _HEADINGS:
            self._level = _HEADINGS[tag] if what == "open" else 0
        elif tag == "pre":
            self._in_pre += step
        elif tag in ("li", "dd", "dt"):
            self._in_items += step

    def _cell(self, what: str) -> None:
        if self._in_row != 1:
            self.flush()  # a table within a table's cell is words of that cell
        elif what == "close":
            self._cells.append(one_line("".join(self._words)))
            self._words.clear()

    def _row(self, what: str) -> None:
        if what == "open":
            self.flush()
            self._in_row += 1
            if self._in_row == 1:
                self._words.clear()
                self._cells = []
            return
        self._in_row -= 1
        if self._in_row == 0:
            if rest := one_line("".join(self._words)):
                self._cells.append(rest)
            self._words.clear()
            if any(self._cells):
                self.writer.add("row", " | ".join(self._cells))
