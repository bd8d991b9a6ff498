"""Three deployments of nothing but sleep and meters, to see Serve scale them by our policy."""

import asyncio

from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.config import DeploymentSettings
from serve_app.deployments.scaling import autoscaling_config
from serve_app.scaling import EscalationMeter, LoadMeter

SHARED = {"max_ongoing_requests": 100, "ray_actor_options": {"num_cpus": 0.1}}


def bounds(least: int, most: int) -> dict[str, object]:
    return SHARED | {
        "autoscaling_config": autoscaling_config(DeploymentSettings(min_replicas=least, max_replicas=most))
    }


@serve.deployment(name="Specialists", **bounds(1, 3))
class Specialists:
    def __init__(self) -> None:
        self._meter = LoadMeter()

    async def __call__(self) -> None:
        ticket = self._meter.begin()
        await asyncio.sleep(0.05)
        self._meter.first(ticket)
        await asyncio.sleep(0.45)
        self._meter.end(ticket, completion_tokens=100)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._meter.stats()


@serve.deployment(name="Fallback", **bounds(0, 3))
class Fallback:
    """Never called: whatever scales it was foreseen."""


@serve.deployment(name="Gateway", **bounds(1, 1))
class Gateway:
    def __init__(self, specialists: DeploymentHandle, fallback: DeploymentHandle) -> None:
        self._specialists, self._fallback = specialists, fallback
        self._meter = EscalationMeter()

    async def __call__(self) -> None:
        self._meter.arrived()
        await self._specialists.remote()
        self._meter.decided(True)

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._meter.stats()


app = Gateway.bind(Specialists.bind(), Fallback.bind())
