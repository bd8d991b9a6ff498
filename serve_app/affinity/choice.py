"""The choice: homes first, within a bound on their load.

The homes of an adapter are the first replicas of its rendezvous order: one, or as many as its share of the traffic
needs. No replica is given more than its capacity while another has room (consistent hashing with bounded loads;
Mirrokni, Thorup and Zadimoghaddam 2018). Capacity is some way above the mean load, and never below `spare`: what a
replica answers at once with little loss is no reason to load an adapter twice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Replica:
    """What is known of one replica."""

    replica_id: str
    ongoing: int
    """Calls it answers or holds in its queue."""
    resident: frozenset[str] = _NONE
    """Adapter versions that it said were loaded; may be some seconds old, and empty."""


@dataclass(frozen=True, slots=True)
class Aims:
    """How far affinity goes."""

    bound: float = 1.25
    """A replica's capacity over the mean load, above 1."""
    spare: int = 8
    """Calls that a replica takes in any case."""
    spread: float = 2.0
    """Homes of an adapter for each replica's worth of traffic that it has."""


def home_size(share: float, num_replicas: int, spread: float) -> int:
    """How many homes an adapter has that gets `share` of all calls.

    >>> home_size(0.01, 4, spread=2.0), home_size(0.2, 4, spread=2.0), home_size(0.9, 4, spread=2.0)
    (1, 2, 4)
    """
    return min(num_replicas, max(1, math.ceil(share * num_replicas * spread)))


def capacity(ongoing: Sequence[int], aims: Aims) -> int:
    """Calls that each replica may hold once one more is placed: at least one of them has room.

    >>> capacity([1, 0], Aims(spare=8)), capacity([30, 9], Aims(spare=8))
    (8, 25)
    """
    return max(aims.spare, math.ceil(aims.bound * (sum(ongoing) + 1) / len(ongoing)))


def candidates(
    replicas: Mapping[str, Replica], order: Sequence[str], version: str, share: float, aims: Aims
) -> list[Replica]:
    """All replicas, best first, for a call of an adapter version with `share` of the calls.

    `order`: of all replicas for this version (`rendezvous`). First the homes with room, the least loaded first; then
    the others with room, those that hold the version first and the least loaded of them; last those without, by load.
    """
    most = capacity([replica.ongoing for replica in replicas.values()], aims)
    num_homes = home_size(share, len(order), aims.spread)

    def rank(place: int, replica: Replica) -> tuple[int, int, int, int]:
        absent = version not in replica.resident
        if replica.ongoing >= most:
            return (2, replica.ongoing, absent, place)
        if place < num_homes:
            return (0, replica.ongoing, absent, place)
        return (1, absent, replica.ongoing, place)

    ranked = sorted((rank(place, replicas[replica_id]), replica_id) for place, replica_id in enumerate(order))
    return [replicas[replica_id] for _, replica_id in ranked]


def for_group(
    replicas: Mapping[str, Replica], order: Sequence[str], versions: frozenset[str], aims: Aims
) -> list[Replica]:
    """All replicas, best first, for calls of several adapter versions that one replica has to answer together.

    `order`: of all replicas for these versions as one key. Those with room first, and of them the one that has fewest
    of the adapters to load; between equals as they come in the order, so that the same members meet the same replica.
    """
    most = capacity([replica.ongoing for replica in replicas.values()], aims)

    def rank(place: int, replica: Replica) -> tuple[int, int, int]:
        absent = len(versions - replica.resident)
        return (0, absent, place) if replica.ongoing < most else (1, replica.ongoing, absent)

    ranked = sorted((rank(place, replicas[replica_id]), place, replica_id) for place, replica_id in enumerate(order))
    return [replicas[replica_id] for _, _, replica_id in ranked]


def by_load(replicas: Mapping[str, Replica], order: Sequence[str]) -> list[Replica]:
    """All replicas, the least loaded first, for a call that any of them answers alike; `order` breaks ties."""
    return sorted((replicas[replica_id] for replica_id in order), key=lambda replica: replica.ongoing)
