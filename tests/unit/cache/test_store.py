"""Bounds of what is held, against a plain model."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.cache.neighbours import Neighbours
from serve_app.cache.store import AnswerStore


def test_an_answer_counts_until_its_time_is_over(answer, clock):
    gone = []
    store = AnswerStore(1_000_000, 10.0, gone.append, clock)
    store.put("a", answer())
    clock.now_s += 9.9
    assert store.get("a") is not None
    clock.now_s += 0.1
    assert store.get("a") is None
    assert (gone, store.num_expired, store.num_bytes, len(store)) == (["a"], 1, 0, 0)


def test_the_least_recently_used_goes_first(answer, clock):
    one = answer()
    gone = []
    store = AnswerStore(2 * (one.num_bytes + 600), 10.0, gone.append, clock)
    store.put("a", one)
    store.put("b", one)
    store.get("a")
    store.put("c", one)
    assert gone == ["b"]
    assert store.num_evicted == 1


def test_an_answer_larger_than_all_is_not_kept_and_moves_nothing(answer, clock):
    store = AnswerStore(20_000, 10.0, lambda key: None, clock)
    assert store.put("a", answer())
    assert not store.put("b", answer("x" * 20_000))
    assert store.get("a") is not None


operations = st.lists(
    st.tuples(st.sampled_from(["put", "get", "wait"]), st.sampled_from("abcdef"), st.integers(1, 400)), max_size=60
)


@given(operations)
def test_the_store_agrees_with_a_plain_model(answer, new_clock, steps):
    clock, held, gone = new_clock(), {}, []
    store = AnswerStore(60_000, 100.0, gone.append, clock)
    for operation, key, size in steps:
        if operation == "put":
            found = answer("x" * size)
            assert store.put(key, found)
            held[key] = (found, clock.now_s)
        elif operation == "wait":
            clock.now_s += size / 10
        else:
            found = store.get(key)
            if found is not None:
                assert found is held[key][0]
                assert clock.now_s < held[key][1] + 100
        assert 0 <= store.num_bytes <= 60_000
        assert (store.num_bytes == 0) == (len(store) == 0)
    assert set(gone) <= set(held)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("pq"), st.integers(0, 9)), max_size=60))
def test_the_nearest_is_that_of_a_full_search_and_the_oldest_go_first(steps):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(10, 4)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    known, held = Neighbours(5), {}
    for adds, context, place in steps:
        held.pop(str(place), None)
        if adds:
            known.add(context, str(place), points[place])
            held[str(place)] = (context, points[place])
            while len(held) > 5:
                held.pop(next(iter(held)))
        else:
            known.discard(str(place))
        assert len(known) == len(held)
        for asked in "pq":
            there = {key: float(point @ points[3]) for key, (where, point) in held.items() if where == asked}
            near = known.nearest(asked, points[3])
            assert (near is None) == (not there)
            if near is not None:
                assert abs(near[1] - max(there.values())) < 1e-6
                assert abs(there[near[0]] - near[1]) < 1e-6
