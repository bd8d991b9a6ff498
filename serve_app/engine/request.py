"""The nouns of the engine: a request, the row that answers it, a sampled token, and where tokens go. No torch."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Protocol

from serve_app.core import FinishReason, HeadraceError, Usage


@dataclass(frozen=True, slots=True)
class SampledToken:
    """One chosen token and the distribution it was chosen from. Natural logarithms, float32, temperature 1."""

    token_id: int
    logprob: float
    entropy: float
    """Nats."""
    margin: float
    """Log-probability of the best token minus that of the second best, >= 0."""
    top: tuple[tuple[int, float], ...] = ()
    """The best alternatives asked for: (token id, log-probability), best first."""


class Sink(Protocol):
    """Takes what a request produces. Both methods are called from the engine's thread and must not block."""

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        """One more token; `finish` is set on the last. True ends the answer here and frees the row."""
        ...

    def fail(self, error: HeadraceError) -> None:
        """The answer ends without a finish; called at most once, and last."""
        ...


class Discard:
    """A Sink for work that nobody reads, such as a warm-up."""

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        """See Sink; never ends the answer."""
        return False

    def fail(self, error: HeadraceError) -> None:
        """See Sink."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Rows that answer as one: each step their log-probabilities are averaged, and all take the same token."""

    ensemble_id: str
    size: int
    """Members; all must be queued and rows for all be free before any is admitted."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the engine is asked to continue. All lengths are checked by the caller: prompt + max_tokens <= context."""

    request_id: str
    prompt_ids: tuple[int, ...]
    """At least one."""
    max_tokens: int
    sink: Sink
    adapter: str | None = None
    """Version (content digest) of the adapter; None is the bare base."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int = 0
    key: str | None = None
    """Who asks: rows are shared fairly between keys, within an adapter."""
    priority: int = 0
    """Higher goes first, whatever fairness says; within a priority fairness rules."""
    deadline_s: float | None = None
    """On the clock of `time.monotonic`. Past it the request fails with DeadlineExceeded, waiting or not."""
    ensemble: Ensemble | None = None
    weight: float = 1.0
    """In the average of its ensemble, positive; only the ratios of those that still answer count."""


@dataclass(slots=True, eq=False)
class Row:
    """A request that is being answered. Only the engine's thread touches it."""

    request: Request
    slot: int
    """Set at admission: its place in the key-value cache, for as long as it lives."""
    adapter_slot: int | None
    """Set at admission: where its adapter's matrices lie; None is the bare base. Held until the row is released."""
    random: random.Random
    """Set at admission: the row's own stream, so that a seeded answer does not depend on the other rows."""
    num_reused: int = 0
    """Set at admission: prompt tokens whose keys and values were copied from an earlier row. Included in
    num_prefilled."""
    num_prefilled: int = 0
    """Set at admission and by the loop: prompt tokens whose keys and values are in the cache."""
    output_ids: list[int] = field(default_factory=list)
    """Set by the loop."""
    draft_ids: tuple[int, ...] = ()
    """Set by the loop: guesses at the next tokens, to be checked by the next step."""
    busy_s: float = 0.0
    """Set by the loop: this row's share of the steps it was in."""

    @property
    def num_cached(self) -> int:
        """Tokens in this row's cache slot: all but the newest output token."""
        return self.num_prefilled + max(0, len(self.output_ids) - 1)

    @property
    def prefilling(self) -> bool:
        """Whether part of the prompt is still to be processed."""
        return self.num_prefilled < len(self.request.prompt_ids)

    @property
    def usage(self) -> Usage:
        """Running total of the row."""
        return Usage(len(self.request.prompt_ids), self.num_reused, len(self.output_ids), self.busy_s)


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens of one row to process in the next forward pass, at the positions start, start + 1, ..."""

    row: Row
    start: int
    token_ids: tuple[int, ...]
    """A chunk of the prompt, or the newest output token and the row's draft."""
    sampled: int
    """How many of the last tokens have their logits sampled: 0 for a chunk that does not complete the prompt, 1 for
    one that does, 1 + len(draft_ids) for a decoding row."""

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.start + len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Copy:
    """The first `num_tokens` of cache slot `source` are to be copied to slot `target` before the next forward pass."""

    source: int
    target: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. Segments of the same adapter are neighbours."""

    segments: tuple[Segment, ...]
    copies: tuple[Copy, ...] = ()

    @property
    def sampled(self) -> tuple[Segment, ...]:
        """Segments that get tokens from this step, in the order the runner returns them."""
        return tuple(segment for segment in self.segments if segment.sampled)

    @property
    def num_tokens(self) -> int:
        """Tokens processed: the denominator of time sharing."""
        return sum(len(segment.token_ids) for segment in self.segments)
