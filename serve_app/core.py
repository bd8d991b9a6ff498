"""The nouns of Headrace and the protocols its nodes answer to. Standard library only.

Everything that crosses a process boundary is one of the frozen dataclasses below.

    HeadraceError                 one sentence that says what to do; never shown as a traceback
    ├── ConfigError               a settings key or file is wrong; names the key
    ├── CatalogueError            a model is unknown, cannot be fetched, or is damaged
    ├── AdapterError              a folder is no adapter that this base can run
    ├── DataError                 a user's data file has a bad row; names file and line
    ├── LedgerError               the ledger cannot be read or written
    │   └── JournalFull           no account can be written down before its query is answered
    └── RequestError              the caller's mistake; `param` names the field
        ├── PromptTooLong         names both lengths, in tokens
        └── ModelNotFound         no such model or adapter
    BudgetExceeded                (HeadraceError) a spending limit is reached; `retry_after_s` says when it is renewed
    Overloaded                    (HeadraceError) a queue is full; `retry_after_s` says when to come back
    EngineError                   (HeadraceError) the engine failed while answering
    └── DeadlineExceeded          the call was not finished in the time it was given
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

NANO_USD = 1_000_000_000
"""Money is held in integer nano-dollars; one dollar is this many."""

RESERVED_MODELS = ("auto", "router", "cascade", "ensemble", "rag", "base", "large")
"""Model names that an adapter may not take."""

FinishReason = Literal["stop", "length"]
Outcome = Literal["accepted", "escalated", "cancelled", "failed", "timed_out", "shadow", "lost"]
"""What became of an attempt: its answer was used, thrown away for the large model's, left by the client, broken by an
error, not finished in time, or only to watch. A query is `lost` when its gateway died: nobody knows what it used."""

AttemptRole = Literal["answer", "member", "shadow", "router", "retriever"]
"""What an attempt was for: the answer, a member of an ensemble, a look behind an answer, the domain, or passages."""

Tier = Literal["default", "flex"]
"""`flex` takes what capacity others leave, at its own price; OpenAI's `service_tier`."""

CacheHit = Literal["exact", "semantic"]
"""How the response cache recognised a query."""


class HeadraceError(Exception):
    """Base of all errors a user may see; `str()` is one sentence that says what to do."""


class ConfigError(HeadraceError):
    """A settings key or file is wrong."""


class CatalogueError(HeadraceError):
    """A model is unknown, cannot be fetched, or is damaged."""


class AdapterError(HeadraceError):
    """A folder is no adapter that this base can run."""


class DataError(HeadraceError):
    """A user's data file cannot be used; the message names the file and the line."""


class LedgerError(HeadraceError):
    """The ledger cannot be read or written."""


class JournalFull(LedgerError):
    """The local journal cannot grow: its disk is full, or its own bound is reached."""


class EngineError(HeadraceError):
    """An engine failed while answering."""


class DeadlineExceeded(EngineError):
    """A call was not finished within the time it was given."""


class Overloaded(HeadraceError):
    """A bounded queue is full. `retry_after_s`: seconds after which a retry may succeed."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class BudgetExceeded(HeadraceError):
    """A limit on money or tokens is reached. `retry_after_s`: seconds until its window ends."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class RequestError(HeadraceError):
    """The caller's mistake. `param` names the request field at fault, `code` is OpenAI's error code."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param, code)  # all arguments in args: survives pickling between replicas
        self.param, self.code = param, code

    def __str__(self) -> str:
        return str(self.args[0])


class PromptTooLong(RequestError):
    """The prompt does not fit the context; the message names both lengths, in tokens."""


class ModelNotFound(RequestError):
    """No model or adapter has that name."""


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

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The turns a router reads: a raw prompt counts as one user turn."""
        return self.messages if self.prompt is None else (Message("user", self.prompt),)


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


@dataclass(frozen=True, slots=True)
class RouteScore:
    """A router's view of a query. `label` is `general` when the best probability is below the floor."""

    label: str
    probability: float
    """Calibrated probability of `label`'s best candidate (before the floor was applied)."""
    probabilities: Mapping[str, float]
    gain: float | None = None
    """Probability that the large model answers right and the small one wrong, from the query alone; None: not asked."""
    busy_s: float = 0.0
    """Seconds that scoring took in the router, waiting not included."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of one node and what became of it. Costs of a query are the sum over its attempts."""

    node: str
    """`specialists`, `fallback`, `router`, or `cache` for an answer given before."""
    model: str
    adapter: str | None
    outcome: Outcome
    usage: Usage
    ms: float
    """Wall time from dispatch to the last delta, queueing included."""
    adapter_version: str | None = None
    choice_index: int = 0
    confidence: float | None = None
    cost_nusd: int = 0
    """Set by the price book; nano-dollars."""
    role: AttemptRole = "answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """The account of one query: what was tried, which attempt answered, what it cost. Holds no text."""

    query_id: str
    created_at_s: float
    requested_model: str
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    key_id: str | None = None
    route: str | None = None
    route_probability: float | None = None
    adapter: str | None = None
    """Of the attempt that answered, like `adapter_version` and `model`."""
    adapter_version: str | None = None
    model: str | None = None
    escalated: bool = False
    """The cascade sent it to the large model, after a small draft or without one."""
    reason: str = ""
    """Why the cascade accepted or escalated, in words."""
    confidence: float | None = None
    first_token_ms: float | None = None
    ms: float = 0.0
    price_version: str | None = None
    cost_nusd: int = 0
    """Sum of the attempts' costs."""
    always_large_nusd: int = 0
    """What the large model alone would have cost for this query."""
    always_large_basis: Literal["estimated", "measured"] = "estimated"
    """`measured` when the large model answered; else its price on the tokens of the answer given."""
    tier: Tier = "default"
    gateway: str | None = None
    """Id of the gateway replica that answered."""
    cache: CacheHit | None = None
    """How the answer was found in the response cache; None: it was generated."""
    shadow_of: str | None = None
    """Of a shadow: the id of the query behind it."""
    saved_by_cache_nusd: int = 0
    """What the response cache saved; with the next two a part of always-large minus cost, whose rest is the cascade."""
    saved_by_prefix_nusd: int = 0
    """What cached prompt tokens would have cost beyond their price."""
    saved_by_tier_nusd: int = 0
    """Price of the default tier minus the price paid."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is written down of a query before anything is dispatched for it."""

    query_id: str
    created_at_s: float
    requested_model: str
    key_id: str | None = None
    tier: Tier = "default"
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine serves now. `adapters`: name -> version; `prompt_tokens`: of all calls that got a row."""

    model: str
    max_context_tokens: int
    adapters: Mapping[str, str] = field(default_factory=dict)
    warm_adapters: tuple[str, ...] = ()
    """Those that sample, with a temperature above 0, where a call names none."""
    longest_answers: Mapping[str, int] = field(default_factory=dict)
    """Adapter name -> most tokens of its answers where a call names none; the others have the node's bound."""
    dtype: str = ""
    device: str = ""
    active_rows: int = 0
    waiting_calls: int = 0
    resident_adapters: tuple[str, ...] = ()
    """Those whose matrices are loaded; the others are known, and are loaded when asked for."""
    cache_bytes: int = 0
    """Bound on the key-value cache."""
    cached_tokens: int = 0
    """Tokens in the key-value cache now, those of finished rows included."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Of these, how many were not computed again because an earlier call began alike. Included in prompt_tokens."""


class Engine(Protocol):
    """Generates text. Safe for concurrent calls from one event loop."""

    def generate(self, call: Call) -> AsyncIterator[Delta]:
        """Stream the answer to `call`; closing the iterator frees its row at once.

        Raises PromptTooLong, ModelNotFound (unknown adapter), Overloaded or EngineError, before or between deltas.
        """
        ...

    async def info(self) -> EngineInfo:
        """The engine's state; raises EngineError when it cannot answer."""
        ...


class Router(Protocol):
    """Names the domain of a conversation."""

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """Changes nothing; reads at most the head and the tail of the text."""
        ...


class Ledger(Protocol):
    """The one writer of the query accounts."""

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store the accounts; idempotent by `query_id`. Returns after commit. Raises LedgerError."""
        ...

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account with its attempts, or None."""
        ...

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        """Totals and groups over a time range in epoch seconds, `until_s` exclusive; of one key, or of all.

        Raises RequestError on a bad group.
        """
        ...

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Stored accounts, newest first, of one key or of all.

        `before`: those that arrived before this time, or come after the account with this time and id.
        """
        ...
