"""The request router of the specialists: Serve asks it where a call shall go, and it asks `serve_app.affinity`.

A gateway's handle holds one. It reads the adapters off the call itself, or off the calls of a group, which all go to
one replica; what replicas have loaded, they report to Serve's controller, which tells all handles. Serve's queue
lengths are the load, where a group counts as one: its own calls count at once, those of other gateways when the replica
next answers.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from serve_app.affinity import Aims, Popularity, Rendezvous, Replica, by_load, candidates, for_group
from serve_app.config import Settings
from serve_app.core import Call, EngineInfo, Group

REPORT_S = 2.0
"""Between two reports of what a replica has loaded."""


def router_config(settings: Settings) -> RequestRouterConfig:
    """For the deployment `Specialists`. Serve's own router where there is nothing to choose between."""
    affinity, replicas = settings.scaling.affinity, settings.deployments.specialists
    if affinity.route == "off" or replicas.max_replicas == 1:
        return RequestRouterConfig()
    return RequestRouterConfig(
        request_router_class=f"{__name__}:{AffinityRouter.__name__}",
        request_router_kwargs={
            "bound": affinity.bound,
            "spread": affinity.spread,
            "spare": max(1, round(replicas.target_ongoing_requests)),
            "slots": settings.specialists.adapter_slots if affinity.route == "auto" else 0,
            "adapters": len(settings.adapters),
        },
        request_routing_stats_period_s=REPORT_S,
    )


def routing_stats(info: EngineInfo) -> dict[str, Any]:
    """What a replica reports: how many adapters it knows, and which are loaded, and which of these for good."""
    return {
        "adapters": len(info.adapters),
        "resident": _keys(info, info.resident_adapters),
        "pinned": _keys(info, info.pinned_adapters),
    }


def _keys(info: EngineInfo, names: Iterable[str]) -> list[str]:
    """Names and versions: a call names its version, or leaves it to the engine."""
    return sorted({*names, *(info.adapters[name] for name in names if name in info.adapters)})


class AffinityRouter(RequestRouter):  # type: ignore[misc]
    """Places calls by adapter, within a bound on each replica's load."""

    def initialize_state(self, **settings: Any) -> None:
        """Serve hands over `request_router_kwargs`: `Aims`, and from how many known adapters on affinity counts."""
        self._slots: int = settings["slots"]
        self._num_adapters: int = settings["adapters"]
        self._aims = Aims(bound=settings["bound"], spare=settings["spare"], spread=settings["spread"])
        self._popularity = Popularity()
        self._rendezvous = Rendezvous(())
        self._pinned: frozenset[str] = frozenset()
        self._resident: Mapping[str, frozenset[str]] = {}

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Replicas came or went, or reported."""
        stats = {replica.replica_id.unique_id: replica.routing_stats for replica in replicas}
        self._resident = {name: frozenset(told.get("resident", ())) for name, told in stats.items()}
        reports = [told for told in stats.values() if told]  # a new replica has not reported yet
        if reports:
            self._num_adapters = max(told["adapters"] for told in reports)
            self._pinned = frozenset.intersection(*(frozenset(told["pinned"]) for told in reports))
        super().update_replicas(replicas)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """All replicas, each a rank of its own: Serve takes the first that has room."""
        assert pending_request is not None
        pending_request.routing_context.should_backoff = True  # else full replicas would be asked without a pause
        running = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        if self._rendezvous.replica_ids != running.keys():
            self._rendezvous = Rendezvous(running)
        known = {name: self._known(name, replica) for name, replica in running.items()}
        return [[running[one.replica_id]] for one in self._ranked(known, pending_request)]

    def _known(self, name: str, replica: RunningReplica) -> Replica:
        """A queue not heard of for some seconds counts as empty: Serve asks the replica before it sends."""
        ongoing = self.replica_queue_len_cache.get(replica.replica_id) or 0
        return Replica(name, ongoing, self._resident.get(name, frozenset()))

    def _ranked(self, known: Mapping[str, Replica], request: PendingRequest) -> list[Replica]:
        asked = request.args[0] if request.args else None
        calls = asked.calls if isinstance(asked, Group) else (asked,) if isinstance(asked, Call) else ()
        now_s = time.monotonic()
        named = [call.adapter_version or call.adapter for call in calls]
        for version in named:
            self._popularity.seen(version, now_s)
        versions = frozenset(version for version in named if version is not None) - self._pinned
        if not versions or self._num_adapters <= self._slots:
            return by_load(known, self._rendezvous.order(request.metadata.request_id))
        order = self._rendezvous.order("+".join(sorted(versions)))
        if len(versions) > 1:
            return for_group(known, order, versions, self._aims)
        (version,) = versions
        return candidates(known, order, version, self._popularity.share(version, now_s), self._aims)

    def _fulfill_next_pending_request(self, replica: RunningReplica, request_metadata: Any = None) -> None:
        """The replica is for the call it was chosen for.

        Serve finds that one by the id of the HTTP request, which the calls of an ensemble share: all but the first
        would wait for ever. Its metadata is its own.
        """
        for request in self._pending_requests_to_fulfill:
            if request.metadata is request_metadata and not request.future.done():
                self._cancel_routing_task_for_pending_request(request)
                self._record_queue_wait_time(request)
                request.future.set_result(replica)
                self._remove_pending_request_from_indices(request)
                return
