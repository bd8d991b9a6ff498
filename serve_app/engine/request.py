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
class Request:
    """What the engine is asked to continue. All lengths are checked by the caller: prompt + max_tokens <= context."""

    request_id: str
    prompt_ids: tuple[int, ...]
    """At least one."""
    max_tokens: int
    sink: Sink
    adapter: int | None = None
    """Index into the adapters that the runner was given; None is the bare base."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int = 0


@dataclass(slots=True, eq=False)
class Row:
    """A request that holds a row of the batch. Only the engine's thread touches it."""

    request: Request
    index: int
    """Set by the scheduler: row of the batch and slot of the cache. Changes when an earlier row leaves."""
    random: random.Random
    """Set by the scheduler: the row's own stream, so that a seeded answer does not depend on the other rows."""
    num_prefilled: int = 0
    """Set by the loop: prompt tokens whose keys and values are in the cache."""
    output_ids: list[int] = field(default_factory=list)
    """Set by the loop."""
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
        return Usage(len(self.request.prompt_ids), 0, len(self.output_ids), self.busy_s)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a prompt to process in one forward pass: tokens [start, end) of the row's prompt."""

    row: Row
    start: int
    end: int

    @property
    def last(self) -> bool:
        """Whether the prompt is complete after it, so that a token is sampled."""
        return self.end == len(self.row.request.prompt_ids)


@dataclass(frozen=True, slots=True)
class Move:
    """A row changed its place: slot `source` of the cache is to be copied to slot `target`."""

    source: int
    target: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: the rows to decode, which are rows 0 to n-1 of the batch, and the prompt chunks, each a row beyond."""

    decodes: tuple[Row, ...]
    chunks: tuple[Chunk, ...]

    @property
    def sampled(self) -> tuple[Row, ...]:
        """Rows that get a token from this step, in the order the runner returns them."""
        return (*self.decodes, *(chunk.row for chunk in self.chunks if chunk.last))

    @property
    def num_tokens(self) -> int:
        """Tokens processed: the denominator of time sharing."""
        return len(self.decodes) + sum(chunk.end - chunk.start for chunk in self.chunks)
