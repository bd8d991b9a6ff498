"""A reading into chunks: along its structure, in whole sentences where they fit, of a bounded number of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_app.core import CatalogueError
from serve_app.rag.reading import Block, Reading
from serve_app.rag.sentences import Span, lines, sentences, trimmed

_CHARS_PER_TOKEN = 8
"""Characters looked at for each token that may fit; a window of text with longer tokens is cut at its end."""
_PATH = " > "
_MAX_TITLE_CHARS = 300


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document's text: `reading.text[start:end]`."""

    title: str
    """The document's title and the headings above the chunk, from the outermost; may be empty."""
    text: str
    start: int
    end: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not cut any further."""

    start: int
    end: int
    num_tokens: int


class Chunker:
    """Cuts readings. Safe for concurrent calls.

    `chunk_tokens` bounds each chunk, by the tokenizer of `path` (a tokenizer.json, or its folder). `overlap_tokens`:
    a chunk repeats so many tokens of the one before it under the same heading, in whole sentences.
    """

    def __init__(self, path: Path, chunk_tokens: int, overlap_tokens: int) -> None:
        from tokenizers import Tokenizer

        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise CatalogueError(f"{file} is missing: pull the base model again with `headrace models pull`.")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._chunk_tokens = chunk_tokens
        self._most_chars = _CHARS_PER_TOKEN * chunk_tokens
        self._overlap_tokens = min(overlap_tokens, chunk_tokens - 1)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """In the document's order. Every character but space is in one of them, or in two where they overlap."""
        for path, blocks in _sections(reading):
            units = list(self._units(reading.text, blocks))
            for start, end in self._packed(reading.text, units):
                text = reading.text[start:end]
                yield Chunk(path, text, start, end, self.num_tokens(text))

    def num_tokens(self, text: str) -> int:
        """Of `text`, with no special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _packed(self, text: str, units: Sequence[_Unit]) -> Iterator[Span]:
        """Spans of as many units as fit. Counts of units are summed first; the whole is then counted for certain."""
        first = done = 0  # `done`: units that are in a chunk already
        while done < len(units):
            last, total = done + 1, sum(unit.num_tokens for unit in units[first : done + 1])
            farthest = units[first].start + self._most_chars
            while (
                last < len(units)
                and total + units[last].num_tokens <= self._chunk_tokens
                and units[last].end <= farthest  # space between them may be long, and costs time to count
            ):
                total += units[last].num_tokens
                last += 1
            last = self._within(text, units, first, last)
            if last <= done:  # what is repeated leaves no room
                first = done
                continue
            yield units[first].start, units[last - 1].end
            done = last
            first = self._overlap(units, first + 1, done)

    def _within(self, text: str, units: Sequence[_Unit], first: int, last: int) -> int:
        """The end of as many of `units[first:last]` as fit with the space between them; one unit always does."""
        fits, over = first + 1, last + 1
        at = last
        while fits < over - 1:
            if self._is_over(text[units[first].start : units[at - 1].end]):
                over = at
            else:
                fits = at
            at = (fits + over) // 2
        return fits

    def _overlap(self, units: Sequence[_Unit], earliest: int, done: int) -> int:
        """The unit that the next chunk starts with."""
        if done == len(units):
            return done
        first, room = done, min(self._overlap_tokens, self._chunk_tokens - units[done].num_tokens)
        while first > earliest and units[first - 1].num_tokens <= room:
            first -= 1
            room -= units[first].num_tokens
        return first

    def _is_over(self, text: str) -> bool:
        return self.num_tokens(text) > self._chunk_tokens

    def _units(self, text: str, blocks: Sequence[Block]) -> Iterator[_Unit]:
        for block in blocks:
            for start, end in _spans(text, block):
                is_short = end - start <= self._most_chars
                if is_short and (num_tokens := self.num_tokens(text[start:end])) <= self._chunk_tokens:
                    yield _Unit(start, end, num_tokens)
                else:
                    yield from self._pieces(text, start, end)

    def _pieces(self, text: str, start: int, end: int) -> Iterator[_Unit]:
        """A sentence that is too long, cut after words; a word that is too long, anywhere."""
        while start < end:
            window = text[start : min(end, start + self._most_chars)]
            offsets = self._tokenizer.encode(window, add_special_tokens=False).offsets
            cut = len(window)
            if len(offsets) > self._chunk_tokens:
                cut = max(1, offsets[self._chunk_tokens - 1][1])
            if start + cut < end:
                cut = _after_word(window, cut)
            while cut > 1 and self._is_over(window[:cut].strip()):
                cut -= 1 + cut // 16
            for begin, stop in trimmed(text, start, start + cut):
                yield _Unit(begin, stop, self.num_tokens(text[begin:stop]))
            start += cut


def _after_word(window: str, cut: int) -> int:
    """The end of the last word up to `cut`, unless it is in the first half."""
    if window[cut : cut + 1].isspace():
        return cut
    for at in range(cut, cut // 2, -1):
        if window[at - 1].isspace():
            return at
    return cut


def _spans(text: str, block: Block) -> Iterator[Span]:
    if block.kind in ("heading", "row"):
        return iter([(block.start, block.end)])
    return (lines if block.kind == "code" else sentences)(text, block.start, block.end)


def _sections(reading: Reading) -> Iterator[tuple[str, list[Block]]]:
    """Headings that follow one another, with the blocks up to the next heading; and the path of titles above them."""
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    for block in reading.blocks:
        if block.kind == "heading":
            if any(each.kind != "heading" for each in blocks):
                yield _title(reading.title, path), blocks
                blocks = []
            path = [above for above in path if above[0] < block.level]
            path.append((block.level, reading.text[block.start : block.end]))
        blocks.append(block)
    if blocks:
        yield _title(reading.title, path), blocks


def _title(document: str, path: Sequence[tuple[int, str]]) -> str:
    headings = [heading for _, heading in path]
    titles = [document, *headings] if document and document not in headings[:1] else headings
    return _PATH.join(titles)[:_MAX_TITLE_CHARS]
