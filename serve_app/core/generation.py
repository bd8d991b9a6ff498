"""What an engine yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from serve_app.core.errors import HeadraceError

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class TokenStat:
    """One generated token and what the engine saw when it was chosen. Natural logarithms, temperature 1."""

    token_id: int
    text: str
    """The token's own text; may be a replacement character inside a multi-byte character."""
    logprob: float
    entropy: float
    """Of the whole next-token distribution, in nats."""
    margin: float
    """Log-probability of the best token minus that of the second best, >= 0."""
    top: tuple[tuple[str, float], ...] = ()
    """The `top_logprobs` best alternatives, best first."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one attempt used so far."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Included in `prompt_tokens`: those whose keys and values were reused."""
    completion_tokens: int = 0
    """Disjoint from `prompt_tokens`; an end token counts."""
    busy_s: float = 0.0
    """Seconds of engine time attributed to this row: each step's time, shared over its rows by tokens processed."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. An engine yields one or more; the last has a `finish_reason`."""

    text: str
    tokens: tuple[TokenStat, ...] = ()
    """The tokens behind this delta; `text` may lag behind them while a stop string or character is undecided."""
    finish_reason: FinishReason | None = None
    usage: Usage = Usage()
    """Running total up to and including this delta, so that a broken-off stream can be billed."""
    adapter_version: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as one row of plain values: it crosses processes, and a dataclass inside costs ten times as much."""
        usage = self.usage
        tokens = tuple((one.token_id, one.text, one.logprob, one.entropy, one.margin, one.top) for one in self.tokens)
        used = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.busy_s)
        return _delta, (self.text, tokens, self.finish_reason, used, self.adapter_version)


def _delta(
    text: str,
    tokens: tuple[tuple[Any, ...], ...],
    finish_reason: FinishReason | None,
    usage: tuple[int, int, int, float],
    adapter_version: str | None,
) -> Delta:
    """What `Delta.__reduce__` took apart."""
    return Delta(text, tuple(TokenStat(*one) for one in tokens), finish_reason, Usage(*usage), adapter_version)


@dataclass(frozen=True, slots=True)
class MemberDelta:
    """A piece of one member's answer, or why that member has none. Exactly one of `delta` and `error` is set."""

    member: int
    """Place of its call in the group, from 0."""
    delta: Delta | None = None
    error: HeadraceError | None = None
    """The member's last word; the others go on."""

    @property
    def is_last(self) -> bool:
        """Whether nothing more comes of this member."""
        return self.error is not None or (self.delta is not None and self.delta.finish_reason is not None)
