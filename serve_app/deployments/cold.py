"""Watches a deployment that may have no replica: `patterns.Warmth` from what Serve's controller says.

Only the controller knows of replicas that are starting, so it is asked, once a second and in a thread; a gateway whose
fallback always has a replica never asks. How long a start takes is learnt from the starts that are seen.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.config import Settings
from serve_app.patterns.warmth import Waking
from serve_app.scaling import WarmUp

_EVERY_S = 1.0
_RUN, _START = ("RUNNING", "RECOVERING", "PENDING_MIGRATION"), ("STARTING", "UPDATING")
"""Of Serve's states of a replica, those that answer and those that will."""
_LOG = logging.getLogger("ray.serve")

Replicas = tuple[int, int]
"""Those that run, and those that run or start."""


class ReplicaWatch:
    """For one event loop. Cold until it has looked for the first time."""

    def __init__(
        self, look: Callable[[], Replicas], warm_up_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`look` may block. `warm_up_s`: of a start, until one was seen."""
        self._look, self._clock = look, clock
        self._warm_up = WarmUp(warm_up_s)
        self._running = 0

    def remaining_s(self) -> float | None:
        """See `patterns.Warmth`."""
        return None if self._running else self._warm_up.remaining_s(self._clock())

    async def run(self) -> None:
        """Look again and again, until cancelled. While the controller does not answer, what it last said counts."""
        while True:
            try:
                self.seen(*await asyncio.to_thread(self._look))
            except (RayError, RayServeException) as error:
                _LOG.warning("Serve's controller does not say whether the fallback runs: %s", error)
            await asyncio.sleep(_EVERY_S)

    def seen(self, running: int, wanted: int) -> None:
        """So many replicas run, and so many run or start."""
        self._running = running
        self._warm_up = self._warm_up.seen(running, wanted, self._clock())


def watch(settings: Settings, fallback: DeploymentHandle | None) -> ReplicaWatch | None:
    """Over a graph's fallback; None: it always has a replica, or the graph has none."""
    if fallback is None or settings.deployments.fallback.min_replicas > 0:
        return None
    app, name = fallback.app_name, fallback.deployment_name
    return ReplicaWatch(lambda: _replicas(app, name), settings.scaling.fallback.warm_up_s)


def waking(settings: Settings, watched: ReplicaWatch | None, withheld: Callable[[], None]) -> Waking | None:
    """What is done with queries for it; `withheld` is called for each that does not reach it.

    Serve's own policy starts a replica only for calls that wait, so under it all do.
    """
    if watched is None:
        return None
    plan = settings.scaling.fallback
    policy = plan.while_cold if settings.scaling.policy == "headrace" else "wait"
    return Waking(watched, policy, plan.patience_s, withheld)


def _replicas(app: str, deployment: str) -> Replicas:
    found = serve.status().applications.get(app)
    status = found.deployments.get(deployment) if found else None
    states = status.replica_states if status else {}
    running = sum(states.get(state, 0) for state in _RUN)
    return running, running + sum(states.get(state, 0) for state in _START)
