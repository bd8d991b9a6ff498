"""What is asked: by a client, and of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RESERVED_MODELS = ("auto", "router", "cascade", "ensemble", "rag", "base", "large")
"""Model names that an adapter may not take."""

Tier = Literal["default", "flex", "priority"]
"""OpenAI's `service_tier`: `flex` takes what capacity others leave, `priority` goes first; each has its own price."""

_BYTES_PER_TOKEN = 3
_TEMPLATE_TOKENS = 32
"""Of a prompt as a whole."""
_TURN_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to pick tokens. `None` means: the adapter's default, else the node's."""

    max_tokens: int | None = None
    temperature: float | None = None
    """0 is greedy."""
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these; the string itself is not part of the answer."""
    top_logprobs: int = 0
    """How many alternatives to report for each token, 0 to 20."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a client asked. Exactly one of `messages` and `prompt` is set."""

    query_id: str
    model: str
    """The name the client asked for: a reserved name or an adapter's."""
    sampling: SamplingParams
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    """Raw text to continue, with no chat template."""
    key_id: str | None = None
    created_at_s: float = 0.0
    """Seconds since the epoch."""
    tier: Tier = "default"
    traceparent: str | None = None
    """W3C trace context of the span that the query's spans belong under."""
    timeout_s: float | None = None
    """Seconds after its arrival at the gateway when it fails with DeadlineExceeded; None: never."""

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The turns a router reads: a raw prompt counts as one user turn."""
        return self.messages if self.prompt is None else (Message("user", self.prompt),)

    @property
    def estimated_tokens(self) -> int:
        """Of its prompt, for who has no tokenizer, rather too many than too few: a third of its bytes, and a template.

        Text that takes more tokens than that, such as one of rare characters, is underestimated.
        """
        texts = [self.prompt] if self.prompt is not None else [turn.content for turn in self.messages]
        num_bytes = sum(len(text.encode(errors="surrogatepass")) for text in texts)
        return num_bytes // _BYTES_PER_TOKEN + _TURN_TOKENS * len(self.messages) + _TEMPLATE_TOKENS


@dataclass(frozen=True, slots=True)
class Call:
    """One generation asked of one engine. `adapter` None is the bare base."""

    call_id: str
    sampling: SamplingParams
    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    adapter: str | None = None
    key_id: str | None = None
    """Who asks: an engine shares its rows fairly between keys."""
    priority: int = 0
    """Higher goes first."""
    timeout_s: float | None = None
    """Seconds after arrival at the engine when the call fails with DeadlineExceeded; None waits without end."""
    traceparent: str | None = None
    """W3C trace context of the attempt's span."""
    adapter_version: str | None = None
    """Which version of `adapter` shall answer; None: the one that new calls get."""


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of one query that one engine answers side by side: the members of an ensemble."""

    calls: tuple[Call, ...]
    lock_step: bool = False
    """All members get the same tokens, each drawn from the weighted mean of their next-token log-probabilities."""
    weights: tuple[float, ...] = ()
    """Of the members in that mean, positive, one each; empty: equal ones."""
