"""Latencies in buckets: how far off a percentile may be, and that counts survive packing."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.ledger.latency import ERROR_SHARE, bucket_ms, latency_bucket, pack, percentiles, unpack

latencies = st.floats(2**-10, 1e9)
counts = st.dictionaries(st.integers(0, 1000), st.integers(1, 2**32 - 1), max_size=50).map(Counter)


@settings(deadline=None)
@given(latencies)
def test_the_middle_of_a_bucket_is_no_further_off_than_stated(ms):
    assert abs(bucket_ms(latency_bucket(ms)) / ms - 1) <= ERROR_SHARE + 1e-9


@settings(deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_a_longer_time_is_in_no_earlier_bucket(ms, more_ms):
    assert 0 <= latency_bucket(ms) <= latency_bucket(ms + more_ms) < 2**16


@settings(deadline=None)
@given(counts)
def test_counts_survive_packing(some):
    assert unpack(pack(some)) == some


@settings(deadline=None)
@given(st.lists(counts, max_size=4))
def test_packed_counts_joined_are_their_sum(several):
    assert unpack(b"".join(pack(some) for some in several)) == sum(several, Counter())


@settings(deadline=None)
@given(st.lists(latencies, min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_the_true_one_within_the_stated_error(times, share):
    [found] = percentiles(Counter(map(latency_bucket, times)), [share])
    true = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
    assert abs(found / true - 1) <= ERROR_SHARE + 1e-9


def test_of_nothing_there_is_no_percentile():
    assert percentiles({}, (0.5, 0.99)) == [None, None]


@pytest.mark.parametrize("ms", [0.0, -5.0, 1e-30])
def test_no_time_at_all_is_in_the_first_bucket(ms):
    assert latency_bucket(ms) == 0
