"""Replica-seconds that were provisioned, by deployment and hour: the other side of the bill. Knows no Ray."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from serve_app.ledger.tables import provisioned
from serve_app.ledger.times import HOUR_S, NS_PER_S
from serve_app.store import Store, insert_into
from serve_app.store.faults import store_faults

HOUR_NS = HOUR_S * NS_PER_S


@dataclass(frozen=True, slots=True)
class ReplicaTime:
    """Nanoseconds that the replicas of one deployment ran in one hour, summed over the replicas."""

    hour_s: int
    """Start of the hour, seconds since the epoch."""
    deployment: str
    replica_ns: int


class Meter:
    """Adds up replica-seconds from counts that are taken now and then: a count holds until the next one.

    Time for which nobody counted, longer than `max_gap_s`, is not made up: the bill shows it as not sampled.
    """

    def __init__(self, max_gap_s: int = 60) -> None:
        self._max_gap_ns = max_gap_s * NS_PER_S
        self._counts: dict[str, int] = {}
        self._last_ns: int | None = None
        self._sums: dict[tuple[int, str], int] = {}

    def count(self, now_ns: int, replicas: Mapping[str, int]) -> None:
        """Deployment -> its replicas now, in nanoseconds since the epoch.

        >>> meter = Meter()
        >>> meter.count(3_590_000_000_000, {"fallback": 2})
        >>> meter.count(3_610_000_000_000, {"fallback": 1})
        >>> [(time.hour_s, time.replica_ns // 10**9) for time in meter.take()]
        [(0, 20), (3600, 20)]
        """
        if self._last_ns is not None and 0 < now_ns - self._last_ns <= self._max_gap_ns:
            self._add(self._last_ns, now_ns)
        self._last_ns, self._counts = now_ns, dict(replicas)

    def take(self) -> list[ReplicaTime]:
        """What was added up since the last call, to be stored."""
        taken = [ReplicaTime(hour_s, name, replica_ns) for (hour_s, name), replica_ns in sorted(self._sums.items())]
        self._sums.clear()
        return taken

    def put_back(self, times: Iterable[ReplicaTime]) -> None:
        """What could not be stored, for the next `take`."""
        for time in times:
            place = (time.hour_s, time.deployment)
            self._sums[place] = self._sums.get(place, 0) + time.replica_ns

    def _add(self, since_ns: int, until_ns: int) -> None:
        """The last counts over that time, hour by hour."""
        while since_ns < until_ns:
            hour = since_ns // HOUR_NS
            end_ns = min(until_ns, (hour + 1) * HOUR_NS)
            for name, num_replicas in self._counts.items():
                if num_replicas:
                    place = (hour * HOUR_S, name)
                    self._sums[place] = self._sums.get(place, 0) + num_replicas * (end_ns - since_ns)
            since_ns = end_ns


class Provisioned:
    """The stored sums, over an open store. Used from one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, times: Iterable[ReplicaTime]) -> None:
        """Add to what is stored, all or nothing. Raises LedgerError."""
        rows = [{"hour_s": time.hour_s, "deployment": time.deployment, "replica_ns": time.replica_ns} for time in times]
        if not rows:
            return
        with store_faults():
            await self._store.write(lambda connection: _add(connection, rows))


def read_provisioned(connection: Connection, since_s: int, until_s: int) -> list[ReplicaTime]:
    """The sums of the hours with `since_s <= hour_s < until_s`, by hour."""
    statement = (
        select(provisioned)
        .where(provisioned.c.hour_s >= since_s, provisioned.c.hour_s < until_s)
        .order_by(provisioned.c.hour_s, provisioned.c.deployment)
    )
    return [ReplicaTime(row.hour_s, row.deployment, row.replica_ns) for row in connection.execute(statement)]


def _add(connection: Connection, rows: list[dict[str, object]]) -> None:
    statement = insert_into(connection, provisioned)
    both = provisioned.c.replica_ns + statement.excluded.replica_ns
    connection.execute(
        statement.on_conflict_do_update(index_elements=["hour_s", "deployment"], set_={"replica_ns": both}), rows
    )
