"""The settings of one engine. Plain data, checked at the door."""

from __future__ import annotations

from dataclasses import dataclass

from serve_app.core import ConfigError

DTYPES = ("auto", "bfloat16", "float32", "float16")


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
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    max_tokens: int = 256
    """Of an answer, where neither request nor adapter names it."""
    temperature: float = 0.0
    top_p: float = 1.0
    gate_cores: int | None = None
    """Cores of this machine that its engines share; a step waits until `threads` of them are free. None: no gate."""
    prefill_tokens: int = 256
    """Prompt tokens processed in one step: bounds how long a long prompt holds up the other rows."""

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_context_tokens", "threads", "max_tokens", "prefill_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.max_waiting < 0:
            raise ConfigError(f"max_waiting must be 0 or more, not {self.max_waiting}")
        if self.gate_cores is not None and self.gate_cores < 1:
            raise ConfigError(f"gate_cores must be at least 1, not {self.gate_cores}; leave it out for no gate")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.temperature < 0:
            raise ConfigError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, not {self.top_p}")
