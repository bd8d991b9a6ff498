"""TokenStats from the log-probabilities that a server reports.

What core asks for and a server does not tell is estimated from the alternatives it gives (`remote.top_logprobs`):

* `entropy` is that of the reported tokens with all the others taken as one more: a lower bound, close where the model
  is sure and too low where it is not. With no alternatives it is the entropy of "this token or another".
* `margin` is exact with two alternatives or more. With fewer it is the least that it can be: the log-odds of the token.
* `token_id` is a checksum of the token's bytes, equal for equal tokens, and not the id in the model's vocabulary.

An acceptance rule that was fitted on a local engine's signals does not hold for these: fit it on the server's own.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

from serve_app.core import TokenStat

_LEAST_LOGPROB = -9999.0
"""What servers send for minus infinity."""
_LEAST_REST = 1e-9
"""Rounding leaves no less than this for all other tokens together."""

Alternative = tuple[str, float]


def token_stat(text: str, data: bytes, logprob: float, top: Sequence[Alternative], num_top: int) -> TokenStat:
    """One token. `top`: the server's alternatives, with or without the token itself; `num_top`: the caller's wish.

    >>> stat = token_stat("a", b"a", math.log(0.5), [("a", math.log(0.5)), ("b", math.log(0.25))], 1)
    >>> round(stat.margin, 3), round(stat.entropy, 3), stat.top == (("a", math.log(0.5)),)
    (0.693, 1.04, True)
    """
    logprob = bounded(logprob)
    best = sorted(((other, bounded(value)) for other, value in top), key=lambda one: -one[1])
    seen = best if any(other == text for other, _ in best) else [*best, (text, logprob)]
    return TokenStat(
        token_id=zlib.crc32(data),
        text=text,
        logprob=logprob,
        entropy=_entropy([value for _, value in seen]),
        margin=best[0][1] - best[1][1] if len(best) > 1 else _least_margin(logprob),
        top=tuple(best[:num_top]),
    )


def bounded(logprob: float) -> float:
    """At most 0, and a number: what is none counts as minus infinity."""
    return min(logprob, 0.0) if logprob >= _LEAST_LOGPROB else _LEAST_LOGPROB


def _entropy(logprobs: Sequence[float]) -> float:
    """Nats; the probability that is left over counts as one token."""
    shares = [math.exp(value) for value in logprobs]
    rest = 1.0 - sum(shares)
    entropy = -sum(share * value for share, value in zip(shares, logprobs, strict=True))
    return entropy - rest * math.log(rest) if rest > _LEAST_REST else entropy


def _least_margin(logprob: float) -> float:
    """All the others together have the rest, so the best of them has at most that."""
    rest = max(-math.expm1(logprob), _LEAST_REST)
    return max(0.0, logprob - math.log(rest))
