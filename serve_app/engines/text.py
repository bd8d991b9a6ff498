"""From token ids to text as they come: whole characters only, and never past a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_INCOMPLETE = "\ufffd"
"""What a tokenizer gives for bytes that are no whole character."""


class StopStrings:
    """Lets text through up to the first stop string; holds back what may still become the start of one.

    >>> stops = StopStrings(["###"])
    >>> stops.push("a #"), stops.push("# b"), stops.push("##"), stops.push("# c")
    ('a ', '## b', '', '')
    >>> stops.reached
    True
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.reached = False
        """Whether a stop string was met; nothing more comes through then."""

    def push(self, text: str) -> str:
        """The text that is certain after this piece."""
        if self.reached:
            return ""
        text = self._held + text
        places = [place for place in (text.find(one) for one in self._stop) if place >= 0]
        if places:
            self.reached, self._held = True, ""
            return text[: min(places)]
        num_held = max((_overlap(text, one) for one in self._stop), default=0)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def flush(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held


class TextStream:
    """The text of one answer, token by token."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stops = StopStrings(stop)
        self._undecided: list[int] = []
        """Tokens whose text the decoder has not given out yet: they end inside a character."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string ended the answer."""
        return self._stops.reached

    def push(self, token_id: int) -> str:
        """The text that is certain after this token: may be empty, or hold text of earlier tokens."""
        text = self._decoder.step(self._tokenizer, token_id)
        if not text:
            self._undecided.append(token_id)
            return ""
        self._undecided.clear()
        return self._stops.push(text)

    def flush(self) -> str:
        """The rest, once the last token is in. Bytes of a character that was never completed are dropped."""
        rest = self._tokenizer.decode(self._undecided, skip_special_tokens=True).rstrip(_INCOMPLETE)
        self._undecided.clear()
        return self._stops.push(rest) + self._stops.flush()


def token_text(tokenizer: Tokenizer, token_id: int, skip_special: bool) -> str:
    """One token's own text; may be a replacement character inside a multi-byte character."""
    text: str = tokenizer.decode([token_id], skip_special_tokens=skip_special)
    return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper start of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
