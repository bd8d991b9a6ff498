"""The settings of one engine. Plain data, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core import ConfigError

DTYPES = ("auto", "bfloat16", "float32", "float16")
LINEARS = ("auto", "plain", "packed", "int8", "int4")
KERNELS = ("auto", "native", "plain")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How much an engine does at once and on what. Raises ConfigError that names a field out of range."""

    max_rows: int = 16
    """Rows in one batch: requests answered at the same time."""
    max_context_tokens: int = 2048
    """Prompt and answer together; the model's own limit holds where it is lower."""
    max_waiting: int = 64
    """Requests that may wait for a row once all rows are taken; one more raises Overloaded."""
    threads: int = 1
    """CPU threads of a forward pass."""
    dtype: str = "auto"
    """`auto` times bfloat16 against float32 on this machine."""
    linear: str = "auto"
    """How the base's matrix products are done: `plain`, `packed`, `int8`, `int4`; `auto` times plain against packed."""
    kernels: str = "auto"
    """What lies between the products: `native` (compiled here), `plain` (torch); `auto` is native where possible."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    max_tokens: int = 256
    """Of an answer, where neither request nor adapter names it."""
    temperature: float = 0.0
    top_p: float = 1.0
    gate_cores: int | None = None
    """Cores of this machine that its engines share; a step waits until `threads` of them are free. None: no gate."""
    step_tokens: int = 160
    """Tokens processed in one step, decoding rows first: bounds how long a long prompt holds up the other rows."""
    prefix_slots: int = 8
    """Cache slots beyond max_rows: they keep the prompts of finished rows, to be reused by those that begin alike."""
    cache_mb: int | None = None
    """Bound on the key-value cache, in MiB; fewer slots, and so fewer rows at a time, where it is less than max_rows
    + prefix_slots need. None: no bound."""
    adapter_slots: int = 32
    """Adapters resident at a time; more may be known, and are loaded when asked for."""
    max_adapter_rank: int = 64
    """The widest adapter a slot holds."""
    draft_tokens: int = 7
    """Tokens guessed ahead per row and step from the row's own text, and checked in the same pass; 0: none. The
    answers are the same, and come faster where they repeat what was said before."""

    def __post_init__(self) -> None:
        _check_bounds(self)
        for name, words in (("dtype", DTYPES), ("linear", LINEARS), ("kernels", KERNELS)):
            if getattr(self, name) not in words:
                raise ConfigError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        if self.step_tokens <= self.max_rows:
            raise ConfigError(f"step_tokens must be more than max_rows ({self.max_rows}), not {self.step_tokens}")
        if self.temperature < 0:
            raise ConfigError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, not {self.top_p}")


_AT_LEAST_ONE = ("max_rows", "max_context_tokens", "threads", "max_tokens", "adapter_slots", "max_adapter_rank")
_AT_LEAST_ZERO = ("max_waiting", "prefix_slots", "draft_tokens")
_BOUNDS = ("gate_cores", "cache_mb")


def _check_bounds(options: EngineOptions) -> None:
    for name in _AT_LEAST_ONE:
        if getattr(options, name) < 1:
            raise ConfigError(f"{name} must be at least 1, not {getattr(options, name)}")
    for name in _AT_LEAST_ZERO:
        if getattr(options, name) < 0:
            raise ConfigError(f"{name} must be 0 or more, not {getattr(options, name)}")
    for name in _BOUNDS:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, not {value}; leave it out for no bound")
