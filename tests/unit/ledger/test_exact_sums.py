"""Whatever is recorded, in whatever batches and however often: the stored totals are the exact sums."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import NANO_USD, Answer, Attempt, Usage
from serve_app.ledger import GROUP_KEYS, SqlLedger

OUTCOMES = ("accepted", "escalated", "cancelled", "failed")
WINDOW_S = 1000.0
"""Each example lies in a time window of its own, so that all share one database."""

usages = st.builds(Usage, st.integers(0, 4000), st.integers(0, 5000), st.integers(0, 2000), st.floats(0, 100))
attempts = st.builds(
    Attempt,
    node=st.sampled_from(["specialists", "fallback"]),
    model=st.sampled_from(["small", "large", "local"]),
    adapter=st.none() | st.sampled_from(["legal", "code"]),
    outcome=st.sampled_from(OUTCOMES),
    usage=usages,
    ms=st.floats(0, 1e6),
    choice_index=st.integers(0, 2),
)
answers = st.builds(
    Answer,
    query_id=st.text("abc", min_size=1, max_size=2),  # short: repeats are wanted
    created_at_s=st.floats(0, WINDOW_S - 1),
    requested_model=st.just("auto"),
    outcome=st.sampled_from(OUTCOMES),
    attempts=st.lists(attempts, max_size=4).map(tuple),
    key_id=st.none() | st.sampled_from(["k1", "k2"]),
    route=st.none() | st.sampled_from(["legal", "medical", ""]),
    adapter=st.none() | st.just("legal"),
    model=st.none() | st.sampled_from(["small", "large"]),
    escalated=st.booleans(),
)
batches = st.lists(st.lists(answers, max_size=6), max_size=5)
group_bys = st.lists(st.sampled_from(GROUP_KEYS), max_size=3, unique=True).map(tuple)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one_loop:
        yield one_loop


@pytest.fixture(scope="module")
def shared_ledger(runner, tmp_path_factory) -> Iterator[SqlLedger]:
    ledger = SqlLedger(str(tmp_path_factory.mktemp("sums") / "ledger.sqlite3"))
    runner.run(ledger.open())
    yield ledger
    runner.run(ledger.close())


examples = count()


@settings(max_examples=40, deadline=None)
@given(batches=batches, group_by=group_bys)
def test_totals_are_the_sum_of_the_priced_attempts_and_groups_add_up(runner, shared_ledger, book, batches, group_by):
    start_s, prefix = (number := next(examples)) * WINDOW_S, f"{number}-"
    moved = [
        [
            book.price(replace(each, query_id=prefix + each.query_id, created_at_s=start_s + each.created_at_s))
            for each in batch
        ]
        for batch in batches
    ]
    for batch in [*moved, *moved]:  # all of it twice
        runner.run(shared_ledger.record(batch))
    stats = runner.run(shared_ledger.stats(start_s, start_s + WINDOW_S, group_by))

    first: dict[str, Answer] = {}
    for each in (each for batch in moved for each in batch):
        first.setdefault(each.query_id, each)
    tried = [attempt for each in first.values() for attempt in each.attempts]
    totals = stats["totals"]
    assert totals["queries"] == len(first)
    assert totals["attempts"] == len(tried)
    assert totals["cost_usd"] == sum(attempt.cost_nusd for attempt in tried) / NANO_USD
    assert totals["always_large_usd"] == sum(each.always_large_nusd for each in first.values()) / NANO_USD
    assert totals["prompt_tokens"] == sum(attempt.usage.prompt_tokens for attempt in tried)
    assert totals["completion_tokens"] == sum(attempt.usage.completion_tokens for attempt in tried)
    assert totals["busy_s"] == pytest.approx(sum(attempt.usage.busy_s for attempt in tried), abs=1e-6)
    assert totals["escalated"] == sum(each.escalated for each in first.values())
    assert sum(stats["always_large_basis"].values()) == len(first)
    if group_by:
        for column in ("queries", "attempts", "prompt_tokens", "completion_tokens", "escalated"):
            assert sum(group[column] for group in stats["groups"]) == totals[column]
        for column in ("cost_usd", "always_large_usd", "saved_usd"):
            assert sum(round(group[column] * NANO_USD) for group in stats["groups"]) == round(totals[column] * NANO_USD)
