"""Which replica gets a call, so that each adapter stays on few of them. Plain Python: knows no Ray and no engine.

    rendezvous   the order in which the replicas come for one adapter, the same at every gateway
    popularity   how large a share of the calls each adapter has had lately
    choice       the above and the replicas' load put together: replicas, best first

An adapter slot is worth most where the adapter in it is asked for again. With calls spread by load alone every replica
meets every adapter, and many adapters evict each other everywhere; by affinity each replica sees its part of them.
"""

from serve_app.affinity.choice import Aims, Replica, by_load, candidates, capacity, for_group, home_size
from serve_app.affinity.popularity import Popularity
from serve_app.affinity.rendezvous import Rendezvous, order

__all__ = [
    "Aims",
    "Popularity",
    "Rendezvous",
    "Replica",
    "by_load",
    "candidates",
    "capacity",
    "for_group",
    "home_size",
    "order",
]
