"""Latencies counted in buckets, so that percentiles of millions of queries come from a few hundred counts.

Sixteen buckets lie between one power of two and the next, so a bucket's ends are 4.4 % apart and a percentile, told as
the bucket's middle, is at most `ERROR_SHARE` (2.2 %) off the true one. Below 2^-10 ms all is one bucket.
"""

import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

_PER_DOUBLING = 16
_FIRST_POWER = -10
_PAIR = np.dtype([("bucket", "<u2"), ("count", "<u4")])

ERROR_SHARE = 2 ** (0.5 / _PER_DOUBLING) - 1
"""Largest relative error of a percentile."""


def latency_bucket(ms: float) -> int:
    """The bucket of a latency, 0 and up.

    >>> latency_bucket(0.0), latency_bucket(1.0), latency_bucket(1.04), latency_bucket(1.05), latency_bucket(2.0)
    (0, 160, 160, 161, 176)
    """
    if ms <= 0:
        return 0
    return max(0, math.floor(_PER_DOUBLING * math.log2(ms)) - _PER_DOUBLING * _FIRST_POWER)


def bucket_ms(bucket: int) -> float:
    """The middle of a bucket, in milliseconds.

    >>> [round(bucket_ms(bucket), 3) for bucket in (0, 160, 161)]
    [0.001, 1.022, 1.067]
    """
    return float(2 ** ((bucket + 0.5) / _PER_DOUBLING + _FIRST_POWER))


def pack(counts: Mapping[int, int]) -> bytes:
    """Counts by bucket as bytes: pairs of a 16-bit bucket and a 32-bit count, little-endian, in order.

    >>> pack({161: 2, 160: 1}).hex(" ", 6)
    'a00001000000 a10002000000'
    """
    return b"".join(struct.pack("<HI", bucket, count) for bucket, count in sorted(counts.items()))


def unpack(packed: bytes) -> Counter[int]:
    """What `pack` packed; of several packed texts one after the other, the sum.

    >>> unpack(pack({160: 1}) + pack({160: 2, 161: 1}))
    Counter({160: 3, 161: 1})
    """
    pairs = np.frombuffer(packed, _PAIR)
    if not pairs.size:
        return Counter()
    sums = np.bincount(pairs["bucket"], weights=pairs["count"])  # doubles: exact up to 2^53
    return Counter({int(bucket): int(sums[bucket]) for bucket in np.flatnonzero(sums)})


def percentiles(counts: Mapping[int, int], shares: Iterable[float]) -> list[float | None]:
    """The latency in milliseconds that a share of all is at most (nearest rank); None of nothing.

    >>> [round(ms, 2) for ms in percentiles({160: 98, 176: 1, 192: 1}, (0.5, 0.99, 1.0))]
    [1.02, 2.04, 4.09]
    """
    buckets = sorted(counts)
    reached = np.cumsum([counts[bucket] for bucket in buckets])
    if not buckets:
        return [None for _ in shares]
    ranks = [max(1, math.ceil(share * int(reached[-1]))) for share in shares]
    return [bucket_ms(buckets[int(np.searchsorted(reached, rank))]) for rank in ranks]
