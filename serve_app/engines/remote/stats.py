"""TokenStats from the log-probabilities that a server reports.

What core asks for and a server does not tell is estimated from the alternatives it gives (`remote.top_logprobs`), as
`engines.estimates` says. `token_id` is a checksum of the token's bytes, equal for equal tokens, and not the id in the
model's vocabulary.

An acceptance rule that was fitted on a local engine's signals does not hold for these: fit it on the server's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from serve_app.core import TokenStat
from serve_app.engines.estimates import bounded, entropy, margin

Alternative = tuple[str, float]


def token_stat(text: str, data: bytes, logprob: float, top: Sequence[Alternative], num_top: int) -> TokenStat:
    """One token. `top`: the server's alternatives, with or without the token itself; `num_top`: the caller's wish.

    >>> stat = token_stat("a", b"a", -0.693, [("a", -0.693), ("b", -1.386)], 1)
    >>> round(stat.margin, 3), round(stat.entropy, 2), stat.top
    (0.693, 1.04, (('a', -0.693),))
    """
    logprob = bounded(logprob)
    best = sorted(((other, bounded(value)) for other, value in top), key=lambda one: -one[1])
    seen = best if any(other == text for other, _ in best) else [*best, (text, logprob)]
    return TokenStat(
        token_id=zlib.crc32(data),
        text=text,
        logprob=logprob,
        entropy=entropy([value for _, value in seen]),
        margin=margin([value for _, value in best], logprob),
        top=tuple(best[:num_top]),
    )
