"""What an acceptance model looks at: one fixed-length vector per small answer, whole or so far. Always finite.

Log-probabilities enter as they are, not as probabilities: a logistic model adds up evidence, and log-probabilities add
up. Each number is bounded, so that one impossible token cannot outweigh everything else that a linear model sees. A
token statistic that is no number comes from a broken model and counts as the worst value.
"""

import math
from collections.abc import Sequence

from serve_app.confidence.evidence import Evidence
from serve_app.core import RouteScore, TokenStat

FEATURES: tuple[str, ...] = (
    "mean_logprob",
    "min_logprob",
    "quantile10_logprob",
    "tail_min_logprob",
    "first_entropy",
    "mean_entropy",
    "max_entropy",
    "first_margin",
    "mean_margin",
    "min_margin",
    "log_length",
    "finished",
    "repetition",
    "route_probability",
    "route_margin",
    "gain",
    "log_prompt_tokens",
    "sample_agreement",
    "passage_score",
)
"""Names of the numbers that `features` gives, in its order. All but the last six are of the answer's tokens."""

_LEAST_LOGPROB = -20.0
_MOST_ENTROPY = 12.0
"""Nats; a uniform choice among 160,000 tokens."""
_MOST_MARGIN = 20.0
_TAIL_TOKENS = 4
"""A verdict often stands at the end of an answer."""
_UNKNOWN = 0.5
"""Of a probability or share that was not measured."""


def features(evidence: Evidence) -> tuple[float, ...]:
    """One number for each of FEATURES; an answer of no tokens gets the worst value of each token statistic."""
    route = evidence.route
    return (
        *_token_features(evidence.tokens),
        math.log1p(len(evidence.tokens)),
        float(evidence.finished),
        repetition(evidence.tokens),
        _UNKNOWN if route is None else _bounded(route.probability),
        0.0 if route is None else _route_margin(route),
        _UNKNOWN if route is None or route.gain is None else _bounded(route.gain),
        math.log1p(max(evidence.prompt_tokens, 0)),
        _UNKNOWN if evidence.sample_agreement is None else _bounded(evidence.sample_agreement),
        _UNKNOWN if evidence.passage_score is None else _bounded(evidence.passage_score),
    )


def repetition(tokens: Sequence[TokenStat]) -> float:
    """Share of the runs of three tokens that occurred before; 0 for fewer than four tokens.

    >>> loop = [TokenStat(token_id, "", 0.0, 0.0, 0.0) for token_id in (1, 2, 1, 2, 1, 2)]
    >>> repetition(loop)      # 121 212 121 212: two of four are new
    0.5
    """
    ids = [token.token_id for token in tokens]
    num_runs = len(ids) - 2
    if num_runs < 2:
        return 0.0
    return 1.0 - len(set(zip(ids, ids[1:], ids[2:], strict=False))) / num_runs


def _token_features(tokens: Sequence[TokenStat]) -> tuple[float, ...]:
    """The ten statistics over log-probability, entropy and top-2 margin."""
    if not tokens:
        return (_LEAST_LOGPROB,) * 4 + (_MOST_ENTROPY,) * 3 + (0.0,) * 3
    logprobs = _within([token.logprob for token in tokens], _LEAST_LOGPROB, 0.0, worst=_LEAST_LOGPROB)
    entropies = _within([token.entropy for token in tokens], 0.0, _MOST_ENTROPY, worst=_MOST_ENTROPY)
    margins = _within([token.margin for token in tokens], 0.0, _MOST_MARGIN, worst=0.0)
    num_tokens = len(tokens)
    ordered = sorted(logprobs)
    return (
        sum(logprobs) / num_tokens,
        ordered[0],
        ordered[math.ceil(num_tokens / 10) - 1],
        min(logprobs[-_TAIL_TOKENS:]),
        entropies[0],
        sum(entropies) / num_tokens,
        max(entropies),
        margins[0],
        sum(margins) / num_tokens,
        min(margins),
    )


def _within(values: list[float], low: float, high: float, worst: float) -> list[float]:
    """The values clipped to the range, `worst` for what is no number; the list itself where nothing is to be done."""
    if math.isfinite(sum(values)) and min(values) >= low and max(values) <= high:
        return values
    return [worst if math.isnan(value) else min(max(value, low), high) for value in values]


def _bounded(share: float) -> float:
    return _UNKNOWN if math.isnan(share) else min(max(share, 0.0), 1.0)


def _route_margin(route: RouteScore) -> float:
    """The best label's probability minus the second's; that of the best where there is one label."""
    ordered = sorted(route.probabilities.values(), reverse=True)
    if not ordered:
        return 0.0
    return _bounded(ordered[0] - (ordered[1] if len(ordered) > 1 else 0.0))
