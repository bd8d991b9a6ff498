"""Guesses at a row's next tokens from its own text: prompt lookup decoding (Saxena, 2023). Pure Python, token ids only.

An answer that repeats its prompt or itself (quotes, code, names) is guessed well; any other is not guessed at all once
the row's own record is poor. A wrong guess costs time and never changes an answer.
"""

from __future__ import annotations

from collections.abc import Iterable

_RECORD_TOKENS = 8
"""How many of the latest guesses the record looks back on, roughly: the weight of a guess fades by 1/e over them."""


class NgramDrafter:
    """The text of one row, and for each n-gram in it what followed the last time. Not thread-safe.

    A step costs a few dictionary accesses, however long the text. About 300 bytes are held per token at `ngram` 3.
    """

    def __init__(self, ngram: int = 3, least_hit_rate: float = 0.3) -> None:
        """`ngram`: the longest run of tokens looked up, at least 2; shorter ones down to 2 are tried after it.

        `least_hit_rate`: nothing is proposed while a smaller share of the recent guesses at the next token was right.
        """
        if ngram < 2:
            raise ValueError(f"ngram is {ngram}; use 2 or more")
        self._lengths = range(ngram, 1, -1)
        self._least_hit_rate = least_hit_rate
        self._hit_rate = 0.5
        """Fading mean over guesses, 1 for a hit and 0 for a miss, those not proposed included: a row whose text turns
        repetitive is found out without paying for drafts."""
        self._token_ids: list[int] = []
        self._followed_at: dict[tuple[int, ...], int] = {}
        """n-gram -> the place of the token that followed its latest occurrence. The text's end is not in it yet."""

    def extend(self, token_ids: Iterable[int]) -> None:
        """Take in a part of the prompt: what follows what is learnt, the record is not touched."""
        num_known = len(self._token_ids)
        self._token_ids.extend(token_ids)
        for length in self._lengths:
            places = range(max(num_known, length), len(self._token_ids))
            runs = self._token_ids[places.start - length :]
            grams = zip(*(runs[offset:] for offset in range(length)), strict=False)
            self._followed_at.update(zip(grams, places, strict=False))

    def add(self, token_id: int) -> None:
        """Take in the row's next output token, and enter in the record whether it would have been guessed."""
        place = self._guess_at()
        if place is not None:
            hit = self._token_ids[place] == token_id
            self._hit_rate += (hit - self._hit_rate) / _RECORD_TOKENS
        self.extend((token_id,))

    def propose(self, max_draft: int) -> tuple[int, ...]:
        """At most `max_draft` tokens that may come next; empty when nothing is alike or the record is poor."""
        place = self._guess_at() if self._hit_rate >= self._least_hit_rate else None
        return () if place is None else tuple(self._token_ids[place : place + max_draft])

    def _guess_at(self) -> int | None:
        """The place of the token that followed the latest earlier occurrence of the longest run that has one."""
        for length in self._lengths:
            place = self._followed_at.get(tuple(self._token_ids[-length:]))
            if place is not None:
                return place
        return None
