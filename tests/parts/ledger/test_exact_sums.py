"""Whatever is recorded, in whatever batches and however often: totals of any range are the exact sums."""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core import NANO_USD, Answer, Attempt, Usage
from serve_app.ledger import GROUP_KEYS, SqlLedger
from serve_app.ledger.latency import ERROR_SHARE
from serve_app.ledger.times import DAY_S, HOUR_S

OUTCOMES = ("accepted", "escalated", "cancelled", "failed", "timed_out", "shadow", "lost")
WINDOW_S = 4.0 * DAY_S
"""Each example lies in a time window of its own, so that all share one database."""
NUM_IDS = 12

usages = st.builds(Usage, st.integers(0, 4000), st.integers(0, 5000), st.integers(0, 2000), st.floats(0, 100))
attempts = st.builds(
    Attempt,
    node=st.sampled_from(["specialists", "fallback"]),
    model=st.sampled_from(["small", "large", "local"]),
    adapter=st.none() | st.sampled_from(["legal", "code"]),
    outcome=st.sampled_from(OUTCOMES[:5]),
    usage=usages,
    ms=st.floats(0, 1e6),
    choice_index=st.integers(0, 2),
    cost_nusd=st.integers(0, 10**12),
)
answers = st.builds(
    Answer,
    query_id=st.integers(0, NUM_IDS - 1).map(str),  # few: repeats are wanted
    created_at_s=st.just(0.0),
    requested_model=st.just("auto"),
    outcome=st.sampled_from(OUTCOMES),
    attempts=st.lists(attempts, max_size=4).map(tuple),
    key_id=st.none() | st.sampled_from(["k1", "k2"]),
    route=st.none() | st.sampled_from(["legal", "medical", ""]),
    adapter=st.none() | st.just("legal"),
    adapter_version=st.none() | st.just("abc"),
    model=st.none() | st.sampled_from(["small", "large"]),
    escalated=st.booleans(),
    first_token_ms=st.none() | st.floats(0.01, 1e6),
    ms=st.floats(0.01, 1e6),
    tier=st.sampled_from(["default", "flex", "priority"]),
    cache=st.none() | st.sampled_from(["exact", "semantic"]),
    price_version=st.none() | st.sampled_from(["p1", "p2"]),
    always_large_nusd=st.integers(0, 10**12),
    always_large_basis=st.sampled_from(["estimated", "measured"]),
    saved_by_cache_nusd=st.integers(0, 10**11),
    saved_by_prefix_nusd=st.integers(0, 10**11),
    saved_by_tier_nusd=st.integers(0, 10**11),
)
batches = st.lists(st.lists(answers, max_size=6), max_size=5)
moments = st.lists(st.floats(0, 3 * DAY_S), min_size=NUM_IDS, max_size=NUM_IDS)
edges = st.none() | st.floats(0, 3 * DAY_S) | st.integers(0, 72).map(lambda hour: float(hour * HOUR_S))
group_bys = st.lists(st.sampled_from(GROUP_KEYS), max_size=3, unique=True).map(tuple)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one_loop:
        yield one_loop


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_ledger(request, runner, tmp_path_factory) -> Iterator[SqlLedger]:
    if request.param == "sqlite":
        yield from _opened(runner, str(tmp_path_factory.mktemp("sums") / "ledger.sqlite3"))
        return
    with request.getfixturevalue("postgres_cluster").database() as url:
        yield from _opened(runner, url)


def _opened(runner: asyncio.Runner, url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger(url)
    runner.run(ledger.open())
    yield ledger
    runner.run(ledger.close())


examples = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(batches=batches, moments=moments, since=edges, until=edges, group_by=group_bys)
def test_totals_of_a_range_are_the_sums_and_groups_add_up(
    runner, shared_ledger, batches, moments, since, until, group_by
):
    number = next(examples)
    start_s = number * WINDOW_S
    moved = [
        [
            replace(each, query_id=f"{number}-{each.query_id}", created_at_s=start_s + moments[int(each.query_id)])
            for each in batch
        ]
        for batch in batches
    ]
    for batch in [*moved, *moved]:  # all of it twice
        runner.run(shared_ledger.record(batch))
    since_s = start_s + (since or 0.0)
    until_s = start_s + (WINDOW_S if until is None else until)
    stats = runner.run(shared_ledger.stats(since_s, until_s, group_by))
    spent = runner.run(shared_ledger.spend("k1", since_s, until_s))

    first: dict[str, Answer] = {}
    for each in (each for batch in moved for each in batch):
        first.setdefault(each.query_id, each)
    inside = [each for each in first.values() if since_s <= each.created_at_s < until_s]
    expected = _sums(inside)
    totals = stats["totals"]
    assert {name: _exact(totals, name) for name in expected} == expected
    assert totals["busy_s"] == pytest.approx(sum(a.usage.busy_s for e in inside for a in e.attempts), abs=1e-6)
    assert sum(stats["always_large_basis"].values()) == expected["queries"]
    assert set(stats["price_versions"]) == {each.price_version for each in inside}
    _check_latencies(totals, inside)
    if group_by:
        for name in expected:
            assert sum(_exact(group, name) for group in stats["groups"]) == expected[name]
    of_key = _sums([each for each in inside if each.key_id == "k1"])
    assert (spent.nusd, spent.tokens) == (of_key["cost_usd"], of_key["prompt_tokens"] + of_key["completion_tokens"])


def _sums(found: list[Answer]) -> dict[str, int]:
    """What the totals must say, money in nano-dollars."""
    tried = [attempt for each in found for attempt in each.attempts]
    asked = [each for each in found if each.outcome != "shadow"]
    cost_nusd = sum(attempt.cost_nusd for attempt in tried)
    levers = {
        name: sum(getattr(each, f"saved_by_{name}_nusd") for each in found) for name in ("cache", "prefix", "tier")
    }
    saved_nusd = sum(each.always_large_nusd for each in found) - cost_nusd
    return {
        "queries": len(asked),
        "shadows": len(found) - len(asked),
        "lost": sum(each.outcome == "lost" for each in found),
        "attempts": len(tried),
        "prompt_tokens": sum(attempt.usage.prompt_tokens for attempt in tried),
        "cached_tokens": sum(attempt.usage.cached_tokens for attempt in tried),
        "completion_tokens": sum(attempt.usage.completion_tokens for attempt in tried),
        "cache_hits": sum(each.cache is not None for each in asked),
        "escalated": sum(each.escalated for each in found),
        "cost_usd": cost_nusd,
        "always_large_usd": saved_nusd + cost_nusd,
        "saved_usd": saved_nusd,
        **{f"saved_by.{name}": nusd for name, nusd in levers.items()},
        "saved_by.cascade": saved_nusd - sum(levers.values()),
    }


def _exact(figures: dict, name: str) -> int:
    outer, _, inner = name.partition(".")
    value = figures[outer][inner] if inner else figures[outer]
    return round(value * NANO_USD) if isinstance(value, float) else value


def _check_latencies(totals: dict, found: list[Answer]) -> None:
    timed = [each for each in found if each.outcome not in ("shadow", "lost")]
    for name in ("ms", "first_token_ms"):
        times = sorted(ms for each in timed if (ms := getattr(each, name)) is not None)
        for percentile, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            told = totals[name][percentile]
            if not times:
                assert told is None
                continue
            assert told == pytest.approx(times[max(1, math.ceil(share * len(times))) - 1], rel=ERROR_SHARE + 1e-9)
