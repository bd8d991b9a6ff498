"""Arrival times, in seconds, drawn from inhomogeneous Poisson processes. There are no recorded arrivals in shared/data.

Each trace is a rate over time; arrivals are drawn by thinning, so two policies with the same seed see the same queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Rate = Callable[[float], float]


@dataclass(frozen=True)
class Trace:
    """Queries in order of arrival. All arrays have shape (num_queries,)."""

    name: str
    duration_s: float
    at_s: np.ndarray
    prompt_tokens: np.ndarray
    answer_tokens: np.ndarray
    escalates: np.ndarray
    """Whether the rule would escalate the query."""


def bursts(rng: np.random.Generator, duration_s: float) -> tuple[Rate, float]:
    """5 queries/s; on average every 8 minutes a burst of 15 to 30/s, for 90 s in the mean."""
    spans, at_s = [], float(rng.exponential(480))
    while at_s < duration_s:
        length_s = float(np.clip(rng.exponential(90), 20, 300))
        spans.append((at_s, at_s + length_s, float(rng.uniform(15, 30))))
        at_s += length_s + float(rng.exponential(480))
    return lambda t: next((rate for start, end, rate in spans if start <= t < end), 5.0), 30.0


def ramped(rng: np.random.Generator, duration_s: float) -> tuple[Rate, float]:
    """The same bursts, each growing over its first minute and falling over its last: a crowd, not a batch job."""
    flat, most = bursts(rng, duration_s)
    grid = np.array([flat(float(t)) for t in range(int(duration_s) + 1)])
    smooth = np.convolve(np.pad(grid, 60, mode="edge"), np.ones(61) / 61, mode="same")[60:-60]
    return lambda t: float(smooth[int(t)]), most


def diurnal(rng: np.random.Generator, duration_s: float) -> tuple[Rate, float]:
    """A day pressed into the duration: 2 to 22 queries/s, with short noise of a fifth either way."""
    noise = 1 + rng.uniform(-0.2, 0.2, int(duration_s // 60) + 1)
    return lambda t: (12 - 10 * math.cos(2 * math.pi * t / duration_s)) * float(noise[int(t // 60)]), 27.0


def steady(rng: np.random.Generator, duration_s: float) -> tuple[Rate, float]:
    """10 queries/s throughout: what a policy costs where there is nothing to gain."""
    return lambda t: 10.0, 10.0


def sparse(rng: np.random.Generator, duration_s: float) -> tuple[Rate, float]:
    """Nearly nothing, and three busy spells of five minutes: what scaling to zero is for."""
    starts = np.sort(rng.uniform(0, duration_s - 300, 3))
    return lambda t: 4.0 if any(start <= t < start + 300 for start in starts) else 0.01, 4.0


KINDS: dict[str, Callable[[np.random.Generator, float], tuple[Rate, float]]] = {
    "bursts": bursts,
    "ramped bursts": ramped,
    "diurnal": diurnal,
    "steady": steady,
    "sparse": sparse,
}


def draw(kind: str, seed: int, duration_s: float, escalation_rate: float = 0.2) -> Trace:
    """Queries of one kind and seed. Lengths are log-normal: prompts of 60 tokens in the mean, answers of 80."""
    rng = np.random.default_rng((seed, sorted(KINDS).index(kind)))
    rate, most = KINDS[kind](rng, duration_s)
    at_s = np.sort(rng.uniform(0, duration_s, rng.poisson(most * duration_s)))
    kept = rng.uniform(0, most, len(at_s)) < np.array([rate(float(t)) for t in at_s])
    at_s = at_s[kept]
    count = len(at_s)
    return Trace(
        kind,
        duration_s,
        at_s,
        _lengths(rng, 60, count),
        _lengths(rng, 80, count),
        rng.uniform(size=count) < escalation_rate,
    )


def _lengths(rng: np.random.Generator, mean: float, count: int) -> np.ndarray:
    sigma = 0.7
    drawn = rng.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)
    return np.clip(np.round(drawn), 4, 400).astype(int)
