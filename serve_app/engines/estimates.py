"""Signals of a token whose engine tells only the log-probabilities of the likeliest tokens, not all of them.

* `entropy` is that of the reported tokens with all the others taken as one more: a lower bound, close where the model
  is sure and too low where it is not. With no alternatives it is the entropy of "this token or another".
* `margin` is exact with two alternatives or more. With fewer it is the least that it can be: the log-odds of the token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEAST_LOGPROB = -9999.0
"""What engines send for minus infinity."""
_LEAST_REST = 1e-9
"""Rounding leaves no less than this for all other tokens together."""


def bounded(logprob: float) -> float:
    """At most 0, and a number: what is none counts as minus infinity."""
    return min(logprob, 0.0) if logprob >= _LEAST_LOGPROB else _LEAST_LOGPROB


def entropy(logprobs: Sequence[float]) -> float:
    """Nats, of the different tokens reported; the probability that is left over counts as one token.

    >>> round(entropy([math.log(0.5), math.log(0.25)]), 3)
    1.04
    """
    shares = [math.exp(value) for value in logprobs]
    rest = 1.0 - sum(shares)
    known = -sum(share * value for share, value in zip(shares, logprobs, strict=True))
    return known - rest * math.log(rest) if rest > _LEAST_REST else known


def margin(best: Sequence[float], logprob: float) -> float:
    """Nats between the best token and the next. `best`: the alternatives, best first; `logprob`: of the token chosen.

    >>> round(margin([math.log(0.5), math.log(0.25)], math.log(0.25)), 3), round(margin([], math.log(0.75)), 3)
    (0.693, 1.099)
    """
    if len(best) > 1:
        return best[0] - best[1]
    rest = max(-math.expm1(logprob), _LEAST_REST)  # all the others have it, so the best of them has at most that
    return max(0.0, logprob - math.log(rest))
