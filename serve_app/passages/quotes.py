"""What an answer quotes of a passage: the longest runs of words that stand in both, word for word.

Case and blanks do not count, punctuation does. This tells where words come from, not whether the answer is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.core import Passage

LEAST_WORDS = 5
"""A shorter run says nothing: it may well be chance."""
_MOST_CHARS = 16_000
"""Of an answer: what is behind them has no quotes. Citations are made where other answers wait."""
_MOST_PLACES = 8
"""Looked at for one run; in a text that repeats itself throughout, a longer one may be missed beyond them."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Quote:
    """A run of words, in characters of the answer and of the document's text; ends not included."""

    answer_start: int
    answer_end: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Text:
    """Words and marks, one entry each in every list."""

    tokens: list[str]
    spans: list[tuple[int, int]]
    is_word: list[bool]

    def beginning(self, at: int) -> tuple[str, ...]:
        """Of a run that is long enough, if it has no marks."""
        return tuple(self.tokens[at : at + LEAST_WORDS])


def quotes(answer: str, passages: Sequence[Passage]) -> list[tuple[Quote, ...]]:
    """Of each passage, from the answer's beginning on; those of one passage do not overlap in the answer."""
    said = _text(answer[:_MOST_CHARS])
    return [_quotes_of(said, _text(passage.text), passage.start) for passage in passages]


def _quotes_of(said: _Text, known: _Text, offset: int) -> tuple[Quote, ...]:
    """At each place of the answer the longest run counts. `offset`: where the passage begins in its document."""
    places: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(known.tokens) - LEAST_WORDS + 1):
        if len(found := places.setdefault(known.beginning(at), [])) < _MOST_PLACES:
            found.append(at)
    quoted, index = [], 0
    while index <= len(said.tokens) - LEAST_WORDS:
        if not said.is_word[index]:
            index += 1
            continue
        runs = [(_run(said, index, known, at), -at) for at in places.get(said.beginning(index), ())]
        num_tokens, negative_at = max(runs, default=(0, 0))
        if sum(said.is_word[index : index + num_tokens]) < LEAST_WORDS:
            index += 1
            continue
        at, last = -negative_at, num_tokens - 1
        start, end = known.spans[at][0], known.spans[at + last][1]
        quoted.append(Quote(said.spans[index][0], said.spans[index + last][1], offset + start, offset + end))
        index += num_tokens
    return tuple(quoted)


def _text(text: str) -> _Text:
    matches = list(_TOKEN.finditer(text))
    tokens = [match[0].casefold() for match in matches]
    is_word = [match[0][0].isalnum() or match[0][0] == "_" for match in matches]
    return _Text(tokens, [match.span() for match in matches], is_word)


def _run(said: _Text, index: int, known: _Text, at: int) -> int:
    """Equal tokens from there on, up to the last word of them."""
    num_kept = 0
    for place in range(min(len(said.tokens) - index, len(known.tokens) - at)):
        if said.tokens[index + place] != known.tokens[at + place]:
            break
        if said.is_word[index + place]:
            num_kept = place + 1
    return num_kept
