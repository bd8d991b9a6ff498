"""How to pick tokens, resolved: the request's word first, then the adapter's manifest, then the engine's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from serve_app.adapters import AdapterManifest
from serve_app.core import RequestError, SamplingParams

_T = TypeVar("_T")
_MAX_TOP_LOGPROBS = 20


class Defaults(Protocol):
    """What holds where nobody else says."""

    @property
    def max_tokens(self) -> int:
        """Of an answer."""
        ...

    @property
    def temperature(self) -> float:
        """0 is greedy."""
        ...

    @property
    def top_p(self) -> float:
        """Above 0, at most 1."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """SamplingParams with every gap filled."""

    max_tokens: int
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    """The request's and the adapter's together: an adapter's stop strings mark the end of what it was taught to say."""


def resolve(params: SamplingParams, manifest: AdapterManifest | None, defaults: Defaults) -> Sampling:
    """Fill the gaps and check the ranges. Raises RequestError that names the field."""
    sampling = Sampling(
        max_tokens=_first(params.max_tokens, manifest.max_tokens if manifest else None, defaults.max_tokens),
        temperature=_first(params.temperature, manifest.temperature if manifest else None, defaults.temperature),
        top_p=_first(params.top_p, manifest.top_p if manifest else None, defaults.top_p),
        stop=tuple(dict.fromkeys((*params.stop, *(manifest.stop if manifest else ())))),
    )
    if sampling.max_tokens < 1:
        raise RequestError(f"max_tokens must be at least 1, not {sampling.max_tokens}", "max_tokens")
    if not sampling.temperature >= 0:
        raise RequestError(f"temperature must be 0 or more, not {sampling.temperature}", "temperature")
    if not 0 < sampling.top_p <= 1:
        raise RequestError(f"top_p must be above 0 and at most 1, not {sampling.top_p}", "top_p")
    if not 0 <= params.top_logprobs <= _MAX_TOP_LOGPROBS:
        raise RequestError(f"top_logprobs must be 0 to {_MAX_TOP_LOGPROBS}, not {params.top_logprobs}", "top_logprobs")
    if "" in sampling.stop:
        raise RequestError("stop holds an empty string; leave it out", "stop")
    return sampling


def _first(asked: _T | None, adapters: _T | None, default: _T) -> _T:
    return asked if asked is not None else adapters if adapters is not None else default
