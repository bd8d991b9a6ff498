"""Adoption on nodes where nobody else adopts: the ledger's replica sends a drainer there, and lets it go afterwards.

Who adopts the journals of dead gateways on a node:

    the ledger's own node      the ledger's replica (`orphans`)
    a node with a gateway      that gateway (`orphans`)
    any other                  a `Drainer`, an actor that the ledger's replica owns and sends there

A drainer stays only while there are journals on its node: an actor, even one that asks for nothing, keeps Ray's
autoscaler from giving a node back that is no longer needed. Its owner's death is its own, so none outlives the graph.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ReplicaState, ServeInstanceDetails
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serve_app.core import ConfigError, LedgerError
from serve_app.deployments.handles import LedgerHandle
from serve_app.deployments.paths import folder_here
from serve_app.ledger.journal import adopt, owner_folders

_LOG = logging.getLogger("ray.serve")
_LOOK_S, _DRAIN_S = 5.0, 2.0
_AGAIN_S = 900.0
"""A node is visited again after this though nothing is known of a gateway on it: one may have died unseen."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What one round on a node did."""

    num_answers: int
    """Accounts handed to the ledger."""
    num_lost: int
    """Queries that had begun and never ended. Disjoint from `num_answers`."""
    num_left: int
    """Journals that are still there: of owners that live, or that the ledger did not take yet."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Nodes of the cluster, by id; the ledger's own is not among them."""

    alive: frozenset[str] = frozenset()
    with_gateway: frozenset[str] = frozenset()
    """Those on which a gateway of the application runs, which adopts by itself."""


class NodeDrainer(Protocol):
    """A drainer on a node."""

    async def drain(self) -> Drained:
        """One round.

        Raises ConfigError where the node has no such folder, LedgerError when nothing is taken, RayTaskError for what
        else went wrong there, and other RayErrors when drainer or node are gone.
        """
        ...

    def close(self) -> None:
        """End it, wherever it is: what it had not handed over is still there. Does not block."""
        ...


class Drainer:
    """The actor. It hands accounts over through the ledger's Serve handle, like any gateway."""

    def __init__(self, journals: str, app_name: str) -> None:
        """`journals`: the folder as in the settings; the node's environment says where it is."""
        self._journals, self._app_name = journals, app_name

    async def drain(self) -> Drained:
        """See `NodeDrainer`."""
        root = folder_here(self._journals)  # not in the constructor, whose errors arrive as the actor's death
        ledger = LedgerHandle(serve.get_deployment_handle("Ledger", self._app_name))
        adopted = await adopt(root, ledger, before_removal=ledger.reclaim)
        return Drained(adopted.num_answers, adopted.num_lost, len(owner_folders(root)))


@functools.cache
def _actor_class() -> Any:
    """Made once: Ray stores the class in the cluster for each that is made, for as long as the cluster lives."""
    return ray.remote(Drainer)


class RemoteDrainer:
    """A `NodeDrainer` in a process on its node, owned by this one."""

    def __init__(self, node_id: str, journals: str, app_name: str) -> None:
        where = NodeAffinitySchedulingStrategy(node_id, soft=False)
        actor = _actor_class().options(num_cpus=0, scheduling_strategy=where)
        self._actor = actor.remote(journals, app_name)

    async def drain(self) -> Drained:
        """See `NodeDrainer`."""
        drained: Drained = await self._actor.drain.remote()
        return drained

    def close(self) -> None:
        """See `NodeDrainer`."""
        ray.kill(self._actor)


def survey() -> Survey:
    """Of the cluster, from within a replica. Blocks; not for the event loop. One node alone costs one question."""
    context = serve.get_replica_context()
    here = ray.get_runtime_context().get_node_id()
    alive = frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"]) - {here}
    if not alive:
        return Survey()
    details = ServeInstanceDetails(**_get_global_client().get_serve_details())
    app = details.applications.get(context.app_name)
    gateway = app.deployments.get("Gateway") if app else None
    running = [one for one in gateway.replicas if one.state == ReplicaState.RUNNING] if gateway else []
    return Survey(alive, frozenset(one.node_id for one in running if one.node_id) & alive)


def sender(journals: str) -> Callable[[str], NodeDrainer]:
    """Sends a drainer of this replica's application to a node, by its id."""
    return lambda node_id: RemoteDrainer(node_id, journals, serve.get_replica_context().app_name)


class DrainerKeeper:
    """Run `run()` as a task of the ledger's replica; cancel it at the end, and all drainers go."""

    def __init__(
        self,
        send: Callable[[str], NodeDrainer],
        on_lost: Callable[[int], None],
        look: Callable[[], Survey] = survey,
        look_s: float = _LOOK_S,
        drain_s: float = _DRAIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_s`: between two looks at the cluster; `drain_s`: between two rounds of a drainer."""
        self._send, self._on_lost, self._look = send, on_lost, look
        self._look_s, self._drain_s, self._clock = look_s, drain_s, clock
        self._nodes = Survey()
        self._empty_at_s: dict[str, float] = {}
        """Node -> when its folder was last seen empty; not of nodes where a gateway has been since."""
        self._at_work: set[str] = set()
        """Nodes with a drainer."""
        self._last_problem: str | None = None

    async def run(self) -> None:
        """Look after all nodes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    self._nodes = await asyncio.to_thread(self._look)
                except (RayError, RayServeException) as error:
                    self._problem("The nodes of the cluster cannot be listed now", error)
                else:
                    self._send_out(tasks)
                await asyncio.sleep(self._look_s)

    def _send_out(self, tasks: asyncio.TaskGroup) -> None:
        """A drainer to every node that needs one and has none."""
        nodes, now_s = self._nodes, self._clock()
        self._empty_at_s = {
            node: at_s for node, at_s in self._empty_at_s.items() if node in nodes.alive - nodes.with_gateway
        }
        for node in nodes.alive - nodes.with_gateway - self._at_work:
            empty_at_s = self._empty_at_s.get(node)
            if empty_at_s is None or now_s - empty_at_s >= _AGAIN_S:
                self._at_work.add(node)
                tasks.create_task(self._work(node))

    async def _work(self, node: str) -> None:
        drainer = self._send(node)
        try:
            await self._drain(node, drainer)
        finally:
            drainer.close()
            self._at_work.remove(node)

    async def _drain(self, node: str, drainer: NodeDrainer) -> None:
        """Until there is nothing left on the node, a gateway is there to do it, or the drainer dies.

        One that died is sent again at a later look, if its node is still there.
        """
        while True:
            try:
                drained = await drainer.drain()
            except ConfigError as error:
                self._problem(f"Node {node} has no folder of journals", error)
                self._empty_at_s[node] = self._clock()
                return
            except (LedgerError, RayTaskError) as error:
                self._problem(f"Journals on node {node} are not adopted yet", error)
            except RayError as error:
                self._problem(f"The drainer on node {node} is gone", error)
                return
            else:
                self._count(node, drained)
                if drained.num_left == 0:
                    self._empty_at_s[node] = self._clock()
                    return
            await asyncio.sleep(self._drain_s)
            if node in self._nodes.with_gateway:
                return

    def _count(self, node: str, drained: Drained) -> None:
        self._last_problem = None
        self._on_lost(drained.num_lost)
        if drained.num_answers or drained.num_lost:
            _LOG.info(
                "Journals on node %s are adopted: %s accounts, %s queries lost.",
                node,
                drained.num_answers,
                drained.num_lost,
            )

    def _problem(self, what: str, error: Exception) -> None:
        """Into the log, once."""
        said = f"{what}: {str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__}"
        if said != self._last_problem:
            self._last_problem = said
            _LOG.warning("%s", said)
