"""What is kept of an answer, and how it is given again."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from serve_app.core import Answer, Attempt, Delta, FinishReason, TokenStat, Usage

_ACCOUNT_BYTES = 1024
_ATTEMPT_BYTES = 768
_CHOICE_BYTES = 512
_ALTERNATIVE_BYTES = 144
"""What the objects of one account, attempt, choice and reported alternative take, rounded up; strings in them too."""

Alternatives = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """Token statistics in about 40 bytes each, where the objects take 250."""

    ids: array[int]
    numbers: array[float]
    """Log-probability, entropy and margin of each token, one after the other."""
    text: str
    """All tokens' texts joined."""
    ends: array[int]
    """Where each token's text ends in `text`, in characters."""
    tops: tuple[Alternatives, ...]
    """Of each token; empty where no alternatives were asked for."""

    @classmethod
    def pack(cls, tokens: Sequence[TokenStat]) -> PackedTokens:
        """`unpack` gives the same tokens again."""
        ends, end = array("L"), 0
        for token in tokens:
            end += len(token.text)
            ends.append(end)
        return cls(
            array("q", (token.token_id for token in tokens)),
            array("d", (number for token in tokens for number in (token.logprob, token.entropy, token.margin))),
            "".join(token.text for token in tokens),
            ends,
            tuple(token.top for token in tokens) if any(token.top for token in tokens) else (),
        )

    def unpack(self) -> tuple[TokenStat, ...]:
        """The tokens that were packed."""
        found, start = [], 0
        for index, (token_id, end) in enumerate(zip(self.ids, self.ends, strict=True)):
            logprob, entropy, margin = self.numbers[3 * index : 3 * index + 3]
            top = self.tops[index] if self.tops else ()
            found.append(TokenStat(token_id, self.text[start:end], logprob, entropy, margin, top))
            start = end
        return tuple(found)

    @property
    def num_bytes(self) -> int:
        """In memory, about."""
        tops = sum(_ALTERNATIVE_BYTES for top in self.tops for _ in top)
        return sum(sys.getsizeof(part) for part in (self.ids, self.numbers, self.text, self.ends, self.tops)) + tops


@dataclass(frozen=True, slots=True)
class CachedChoice:
    """One choice, whole."""

    text: str
    tokens: PackedTokens
    finish_reason: FinishReason
    usage: Usage
    """What it took to generate it."""
    adapter_version: str | None

    def delta(self) -> Delta:
        """The choice as one last delta, with the usage of the first time."""
        return Delta(self.text, self.tokens.unpack(), self.finish_reason, self.usage, self.adapter_version)


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer and the account of the query that it was generated for."""

    choices: tuple[CachedChoice, ...]
    account: Answer
    """Of that query; price it again for what the answer would cost today."""

    @property
    def num_bytes(self) -> int:
        """In memory, about."""
        choices = sum(_CHOICE_BYTES + sys.getsizeof(one.text) + one.tokens.num_bytes for one in self.choices)
        return _ACCOUNT_BYTES + _ATTEMPT_BYTES * len(self.account.attempts) + choices

    def attempt(self, choice_index: int, ms: float) -> Attempt:
        """What stands in the account of a query that got this answer: it used no tokens."""
        account = self.account
        return Attempt(
            node="cache",
            model=account.model or account.requested_model,
            adapter=account.adapter,
            outcome="accepted",
            usage=Usage(),
            ms=ms,
            adapter_version=account.adapter_version,
            choice_index=choice_index,
            confidence=account.confidence,
        )


@dataclass(slots=True)
class _Growing:
    """A choice that is being generated."""

    texts: list[str] = field(default_factory=list)
    tokens: list[TokenStat] = field(default_factory=list)
    last: Delta | None = None


class Recording:
    """Collects the deltas of a query while they go to the client."""

    def __init__(self, num_choices: int) -> None:
        self._choices = [_Growing() for _ in range(num_choices)]

    def add(self, choice_index: int, delta: Delta) -> None:
        """The next delta of a choice."""
        choice = self._choices[choice_index]
        choice.texts.append(delta.text)
        choice.tokens.extend(delta.tokens)
        choice.last = delta

    def answer(self, account: Answer) -> CachedAnswer | None:
        """What to keep; None where the query did not end well. `account`: as recorded, priced or not."""
        if account.outcome != "accepted":
            return None
        found = []
        for choice in self._choices:
            last = choice.last
            if last is None or last.finish_reason is None:
                return None
            text, tokens = "".join(choice.texts), PackedTokens.pack(choice.tokens)
            found.append(CachedChoice(text, tokens, last.finish_reason, last.usage, last.adapter_version))
        return CachedAnswer(tuple(found), replace(account, shadow_of=None))
