"""The specialists' request router: when there is one, what replicas report to it, whom it chooses."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import PendingRequest

from serve_app.affinity import order
from serve_app.config import Settings, load
from serve_app.core import Call, EngineInfo, Group, SamplingParams
from serve_app.deployments.affinity import AffinityRouter, router_config, routing_stats
from serve_app.deployments.bind import ledger, specialists

NAMES = ("a", "b", "c")
DEPLOYMENT = DeploymentID("Specialists", "headrace")


def settings(route: str = "auto", max_replicas: int = 3) -> Settings:
    demo = load("demo").model_dump(exclude_unset=True)
    bounds = {"specialists": {"min_replicas": 1, "max_replicas": max_replicas, "target_ongoing_requests": 4}}
    return Settings.model_validate(demo | {"deployments": bounds, "scaling": {"affinity": {"route": route}}})


def replica(name: str, **stats: Any) -> Any:
    """What the router looks at of a RunningReplica."""
    return SimpleNamespace(replica_id=ReplicaID(name, DEPLOYMENT), routing_stats=stats, max_ongoing_requests=100)


def request(version: str | tuple[str | None, ...] | None, request_id: str = "id") -> PendingRequest:
    """Of one call, or of a group where there are several versions."""
    group = Group(
        tuple(
            Call("call", SamplingParams(), adapter="name" if one else None, adapter_version=one)
            for one in (version if isinstance(version, tuple) else (version,))
        )
    )
    return PendingRequest(
        [group if isinstance(version, tuple) else group.calls[0]],
        {},
        RequestMetadata(request_id=request_id, internal_request_id="the same"),
    )


def router(route: str = "on", **stats: Any) -> AffinityRouter:
    made = AffinityRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True)
    made.initialize_state(**router_config(settings(route)).request_router_kwargs)
    made.update_replicas([replica(name, **stats) for name in NAMES])
    return made


async def ranked(made: AffinityRouter, version: Any, request_id: str = "id") -> list[str]:
    ranks = await made.choose_replicas(made._replicas_list, request(version, request_id))
    assert all(len(rank) == 1 for rank in ranks)
    return [rank[0].replica_id.unique_id for rank in ranks]


def load_up(made: AffinityRouter, name: str, ongoing: int) -> None:
    made.on_new_queue_len_info(ReplicaID(name, DEPLOYMENT), ongoing)


@pytest.mark.parametrize(("route", "most"), [("off", 3), ("on", 1), ("auto", 1)])
def test_serve_s_own_router_stays_where_there_is_nothing_to_choose(route: str, most: int) -> None:
    assert router_config(settings(route, most)) == RequestRouterConfig()


def test_several_specialists_are_routed_by_adapter_once_there_are_more_than_slots() -> None:
    config = specialists(settings(), ledger(settings()))._bound_deployment._deployment_config.request_router_config
    assert config.get_request_router_class() is AffinityRouter
    assert config.request_router_kwargs["spare"] == 4
    assert router_config(settings("on")).request_router_kwargs["slots"] == 0


def test_a_replica_reports_names_and_versions_of_what_is_loaded() -> None:
    info = EngineInfo("m", 9, adapters={"x": "1", "y": "2"}, resident_adapters=("y",), pinned_adapters=("y",))
    assert routing_stats(info) == {"adapters": 2, "resident": ["2", "y"], "pinned": ["2", "y"]}


async def test_calls_of_a_version_come_in_its_order_whatever_their_request() -> None:
    made = router()
    for version in ("v1", "v2", "v3"):
        assert await ranked(made, version, "one") == await ranked(made, version, "two") == list(order(version, NAMES))


async def test_a_home_above_its_capacity_comes_last() -> None:
    made = router()
    home, *others = order("v1", NAMES)
    load_up(made, home, 20)
    assert await ranked(made, "v1") == [*others, home]


@pytest.mark.parametrize(
    ("version", "route", "stats"),
    [
        (None, "on", {}),
        ((None, None), "on", {}),
        ("v1", "on", {"adapters": 9, "resident": ["v1"], "pinned": ["v1"]}),
        ("v1", "auto", {"adapters": 32, "resident": [], "pinned": []}),
    ],
    ids=["base", "group of the base", "pinned", "room for all"],
)
async def test_what_any_replica_answers_alike_goes_to_the_least_loaded(version: Any, route: str, stats: Any) -> None:
    made = router(route, **stats)
    for name, ongoing in zip(NAMES, (2, 0, 1), strict=True):
        load_up(made, name, ongoing)
    assert await ranked(made, version) == ["b", "c", "a"]


async def test_more_adapters_than_slots_are_routed_by_adapter() -> None:
    made = router("auto", adapters=33, resident=[], pinned=[])
    home, *_ = order("v1", NAMES)
    load_up(made, home, 2)
    assert (await ranked(made, "v1"))[0] == home


async def test_a_group_goes_where_most_of_its_adapters_are_loaded_and_there_is_room() -> None:
    made, versions = router(), ("v1", None, "v2", "v1")
    first, second, third = order("v1+v2", NAMES)
    assert await ranked(made, versions, "one") == await ranked(made, versions, "two") == [first, second, third]
    loaded = {first: [], second: ["v1"], third: ["v1", "v2"]}
    made.update_replicas([replica(name, adapters=9, resident=loaded[name], pinned=[]) for name in NAMES])
    assert await ranked(made, versions) == [third, second, first]
    load_up(made, third, 20)
    assert await ranked(made, versions) == [second, first, third]


async def test_a_group_of_one_adapter_is_placed_like_its_call() -> None:
    made = router()
    assert await ranked(made, ("v1", "v1", None)) == list(order("v1", NAMES))


async def test_a_replica_that_is_gone_is_not_chosen() -> None:
    made = router()
    gone = order("v1", NAMES)[0]
    made.on_replica_actor_died(ReplicaID(gone, DEPLOYMENT))
    assert await ranked(made, "v1") == list(order("v1", set(NAMES) - {gone}))


async def test_calls_of_one_http_request_each_get_a_replica() -> None:
    made = router()
    for name in NAMES:
        load_up(made, name, 0)
    versions = [f"v{index}" for index in range(6)]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(made._choose_replica_for_request(request(version)) for version in versions))
    assert [one.replica_id.unique_id for one in found] == [order(version, NAMES)[0] for version in versions]
