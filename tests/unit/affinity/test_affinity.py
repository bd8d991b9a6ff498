"""Properties of the choice: the same at every gateway, few moves, bounded load, more homes for the popular."""

import doctest
import importlib
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.affinity import Aims, Popularity, Rendezvous, Replica, by_load, candidates, capacity, home_size, order

ids = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=1, max_size=8, unique=True)
keys = st.text(min_size=1, max_size=12)
shares = st.floats(0, 1, exclude_max=True)
aims = st.builds(Aims, bound=st.floats(1.01, 3), spare=st.integers(1, 16), spread=st.floats(0.5, 4))


@st.composite
def clusters(draw: st.DrawFn, version: str = "v") -> dict[str, Replica]:
    return {
        name: Replica(name, draw(st.integers(0, 40)), draw(st.sampled_from([frozenset(), frozenset({version})])))
        for name in draw(ids)
    }


def ranked(replicas: dict[str, Replica], share: float, given_aims: Aims, version: str = "v") -> list[Replica]:
    return candidates(replicas, order(version, replicas), version, share, given_aims)


@given(clusters(), shares, aims, st.randoms())
def test_gateways_that_know_the_same_choose_the_same(replicas, share, given_aims, chance):
    shuffled = list(replicas.items())
    chance.shuffle(shuffled)
    first = ranked(replicas, share, given_aims)
    assert first == ranked(dict(shuffled), share, given_aims)
    assert sorted(one.replica_id for one in first) == sorted(replicas), "nobody is left out"


@given(ids, keys)
def test_a_replica_that_goes_moves_only_what_was_its_own(replica_ids, key):
    whole = order(key, replica_ids)
    for gone in replica_ids:
        assert order(key, set(replica_ids) - {gone}) == tuple(one for one in whole if one != gone)


def test_a_replica_that_comes_takes_about_its_share():
    versions = [f"version-{index}" for index in range(2000)]
    moved = sum(order(one, "abcd")[0] != order(one, "abcde")[0] for one in versions)
    assert 300 < moved < 500, "a fifth of 2000"


@given(clusters(), shares, aims)
def test_the_first_choice_stays_within_the_capacity(replicas, share, given_aims):
    most = capacity([one.ongoing for one in replicas.values()], given_aims)
    assert ranked(replicas, share, given_aims)[0].ongoing + 1 <= most


@given(st.integers(1, 6), aims, st.lists(st.sampled_from(["hot", "warm", "cold"]), max_size=80))
def test_no_replica_is_filled_beyond_the_bound_whatever_is_asked_for(num_replicas, given_aims, asked):
    replicas = {f"r{index}": Replica(f"r{index}", 0) for index in range(num_replicas)}
    for version in asked:
        best = ranked(replicas, 0.0, given_aims, version)[0]
        replicas[best.replica_id] = replace(best, ongoing=best.ongoing + 1)
    load = [one.ongoing for one in replicas.values()]
    assert max(load) <= max(given_aims.spare, given_aims.bound * max(1, sum(load)) / num_replicas + 1)


@given(st.lists(shares, min_size=2, max_size=2), st.integers(1, 20), st.floats(0.1, 8))
def test_homes_grow_with_popularity(two_shares, num_replicas, spread):
    less, more = sorted(two_shares)
    assert 1 <= home_size(less, num_replicas, spread) <= home_size(more, num_replicas, spread) <= num_replicas


@given(clusters(), shares, aims)
def test_a_home_with_room_goes_before_all_others(replicas, share, given_aims):
    most = capacity([one.ongoing for one in replicas.values()], given_aims)
    homes = order("v", replicas)[: home_size(share, len(replicas), given_aims.spread)]
    assume(any(replicas[home].ongoing < most for home in homes))
    assert ranked(replicas, share, given_aims)[0].replica_id in homes


def test_of_two_equal_homes_the_one_that_holds_the_adapter_answers():
    replicas = {name: Replica(name, 3) for name in "ab"}
    second = order("v", replicas)[1]
    replicas[second] = replace(replicas[second], resident=frozenset({"v"}))
    assert ranked(replicas, 0.9, Aims(spread=1.0))[0].replica_id == second


def test_a_full_home_spills_to_who_holds_the_adapter_and_else_to_the_least_loaded():
    home, *others = order("v", "abc")
    replicas = {name: Replica(name, 20 if name == home else index) for index, name in enumerate([home, *others])}
    assert ranked(replicas, 0.0, Aims(spare=8))[0].replica_id == others[0]
    replicas[others[1]] = replace(replicas[others[1]], resident=frozenset({"v"}))
    assert ranked(replicas, 0.0, Aims(spare=8))[0].replica_id == others[1]
    assert ranked(replicas, 0.0, Aims(spare=8))[-1].replica_id == home


@given(clusters())
def test_the_bare_base_goes_to_the_least_loaded(replicas):
    chosen = by_load(replicas, order("call-1", replicas))
    assert [one.ongoing for one in chosen] == sorted(one.ongoing for one in replicas.values())


def test_idle_replicas_share_the_calls_of_the_bare_base():
    replicas = {name: Replica(name, 0) for name in "abc"}
    firsts = {by_load(replicas, order(f"call-{index}", replicas))[0].replica_id for index in range(50)}
    assert firsts == set("abc")


def test_kept_orders_are_those_computed_anew():
    kept = Rendezvous("abcd")
    assert all(kept.order(key) == order(key, "abcd") for key in ("x", "y", "x"))


def test_shares_follow_the_calls_and_are_forgotten():
    popularity = Popularity(half_life_s=10, prior_calls=0)
    for second in range(100):
        popularity.seen("often" if second % 4 else "seldom", float(second))
        popularity.seen(None, float(second))
    assert 0.3 < popularity.share("often", 100) < 0.45
    assert 0.1 < popularity.share("seldom", 100) < 0.2
    for second in range(100, 200):
        popularity.seen("seldom", float(second))
    assert popularity.share("often", 200) < 0.01 < 0.9 < popularity.share("seldom", 200)
    assert popularity.share("never", 200) == 0


@pytest.mark.parametrize("num_calls", [0, 1, 2])
def test_the_first_calls_are_not_all_the_traffic(num_calls):
    popularity = Popularity()
    for _ in range(num_calls):
        popularity.seen("first", 0.0)
    assert home_size(popularity.share("first", 0.0), 4, Aims().spread) == 1


def test_adapters_long_unused_take_no_memory():
    popularity = Popularity(half_life_s=1)
    for index in range(20_000):
        popularity.seen(f"version-{index}", index / 100)
    assert len(popularity._counts) < 3000


def test_doctests():
    for name in ("choice", "rendezvous"):
        assert not doctest.testmod(importlib.import_module(f"serve_app.affinity.{name}")).failed
