"""Confidence signals: numbers in [0, 1] computed from the tokens of a small answer, higher is surer.

All of them are about how sure the model was of its words, not about whether the words are true: they separate
right from wrong answers only as well as the acceptance study of a route shows.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from serve_app.config.cascade import SignalName
from serve_app.core import TokenStat


def mean_probability(tokens: Sequence[TokenStat]) -> float:
    """Geometric mean of the token probabilities: exp of the mean log-probability, 0 for no tokens."""
    logprobs = _logprobs(tokens)
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else 0.0


def min_probability(tokens: Sequence[TokenStat]) -> float:
    """Probability of the least likely token, 0 for no tokens."""
    return math.exp(min(_logprobs(tokens), default=-math.inf))


def quantile10_probability(tokens: Sequence[TokenStat]) -> float:
    """Probability that a tenth of the tokens do not exceed (the lower of two neighbours), 0 for no tokens.

    >>> tokens = [TokenStat(0, "", math.log(p / 10), 0.0, 0.0) for p in range(1, 11)]
    >>> round(quantile10_probability(tokens), 3)
    0.1
    """
    ordered = sorted(_logprobs(tokens))
    return math.exp(ordered[math.ceil(len(ordered) / 10) - 1]) if ordered else 0.0


def _logprobs(tokens: Sequence[TokenStat]) -> list[float]:
    """The tokens' log-probabilities, none above 0 by rounding.

    One that is not a number comes from a broken model: all of them count as impossible then, so that the answer is
    escalated. Compared as it is, NaN would slip through a minimum.
    """
    if any(math.isnan(token.logprob) for token in tokens):
        return [-math.inf] * len(tokens)
    return [min(token.logprob, 0.0) for token in tokens]


SIGNALS: Mapping[SignalName, Callable[[Sequence[TokenStat]], float]] = {
    "mean_probability": mean_probability,
    "min_probability": min_probability,
    "quantile10_probability": quantile10_probability,
}
