"""Rendezvous hashing (highest random weight; Thaler and Ravishankar 1998).

Each pair of key and replica has a number that looks drawn by chance; the replicas of a key come in falling order of it.
A replica that goes moves only the keys it was first for, and one that comes takes only those it is first for.
"""

from collections.abc import Iterable
from hashlib import blake2b

_KEPT_ORDERS = 8192


def order(key: str, replica_ids: Iterable[str]) -> tuple[str, ...]:
    """The replicas as they come for this key: the same wherever it is computed, and in whatever order they are given.

    >>> order("legal", ["a", "b", "c"])
    ('c', 'a', 'b')
    >>> order("legal", ["a", "b"])
    ('a', 'b')
    """
    return tuple(sorted(replica_ids, key=lambda replica_id: (_weight(key, replica_id), replica_id), reverse=True))


def _weight(key: str, replica_id: str) -> int:
    return int.from_bytes(blake2b(f"{key}\0{replica_id}".encode(), digest_size=8).digest())


class Rendezvous:
    """Orders of one set of replicas, each computed once."""

    def __init__(self, replica_ids: Iterable[str]) -> None:
        self.replica_ids = frozenset(replica_ids)
        self._orders: dict[str, tuple[str, ...]] = {}

    def order(self, key: str) -> tuple[str, ...]:
        """See `order`."""
        found = self._orders.get(key)
        if found is None:
            if len(self._orders) >= _KEPT_ORDERS:
                self._orders.clear()
            found = self._orders[key] = order(key, self.replica_ids)
        return found
