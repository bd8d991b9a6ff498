"""The ingress deployment: the gateway's FastAPI app and the patterns, in a replica.

It adds five things: handles in the place of nodes, loopback, `user_config`, a probe of every node, and the end: what is
recorded when the replica stops is sent off first.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from ray.serve.handle import DeploymentHandle

from serve_app.config import Settings, describe
from serve_app.core import ConfigError
from serve_app.deployments.handles import EngineHandle, LedgerHandle, RouterHandle
from serve_app.deployments.lag import Measured
from serve_app.deployments.loopback import bind_to_node
from serve_app.deployments.probe import NodeProbe
from serve_app.gateway import PrometheusMetrics, Services, Tunables, comparison, create_app
from serve_app.ledger import PriceBook, Recorder
from serve_app.patterns import CascadeControl, Node, PatternTable
from serve_app.patterns.shadow import ShadowReport

_DRAIN_STEP_S = 0.02
_LOG = logging.getLogger("ray.serve")  # what ends up in the replica's log file


class GatewayServer(Measured):
    """One replica of the HTTP side."""

    def __init__(
        self,
        settings: Settings,
        specialists: DeploymentHandle,
        ledger: DeploymentHandle,
        router: DeploymentHandle | None = None,
        fallback: DeploymentHandle | None = None,
    ) -> None:
        """A graph without router or fallback serves fewer model names. Raises ConfigError on a missing price."""
        bind_to_node()
        small = EngineHandle(specialists, "specialists")
        large = EngineHandle(fallback, "fallback") if fallback else None
        router_node = RouterHandle(router) if router else None
        ledger_node = LedgerHandle(ledger)
        small_node = Node("specialists", settings.specialists.model, small)
        large_node = Node("fallback", settings.fallback.model, large) if large else None
        control = (
            CascadeControl(small_node, large_node, settings.cascade, comparison, self._shadowed) if large_node else None
        )
        self._services = Services(
            settings=settings,
            table=PatternTable(small_node, tuple(settings.adapters), settings.routes, router_node, large_node, control),
            prices=PriceBook(settings.prices, settings.fallback.model, (settings.specialists.model,)),
            recorder=Recorder(
                ledger_node, settings.ledger.flush_ms, settings.ledger.max_batch, settings.ledger.max_pending
            ),
            ledger=ledger_node,
            probe=NodeProbe(small, large, router_node, ledger_node),
            metrics=PrometheusMetrics(control),
            control=control,
        )
        self._configured = False

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve calls this in the replica: no app is made, or pickled, at import."""
        return create_app(self._services)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take new tunables; queries in flight go on. A replica that starts with bad ones raises ConfigError.

        One that runs refuses them with an error in its log and keeps the old ones: Serve answers an exception here by
        stopping every gateway. Async although it awaits nothing: a plain function Serve runs in a thread of its own.
        """
        try:
            self._services.reconfigure(_tunables(user_config))
        except ConfigError as error:
            if not self._configured:
                raise
            _LOG.error("The new user_config is refused, the old one stays in force. %s", error)
        self._configured = True

    async def drain(self) -> None:
        """Wait for the queries in flight, then send off their accounts. The launcher calls this before it stops."""
        while self._services.in_flight.num_queries:  # noqa: ASYNC110  the count has no event
            await asyncio.sleep(_DRAIN_STEP_S)
        await self._services.stop_shadows()
        await self._services.recorder.flush()

    async def close(self) -> None:
        """Send off what is recorded and take no more. Raises LedgerError saying how many accounts are not saved."""
        await self._services.stop_shadows()
        await self._services.recorder.close()

    def _shadowed(self, report: ShadowReport) -> None:
        self._services.shadowed(report)


class GatewayReplica(GatewayServer):
    """What Serve runs: `__del__` is its only hook for the end. It awaits it; Python, elsewhere, would not."""

    async def __del__(self) -> None:
        await self.close()


def _tunables(user_config: Mapping[str, Any]) -> Tunables:
    """Raises ConfigError naming the key."""
    try:
        tunables = Tunables.model_validate(dict(user_config))
    except ValidationError as error:
        raise ConfigError(f"user_config: {describe(error)}") from error
    policy = tunables.cascade.policy if tunables.cascade else None
    if policy is not None and not Path(policy).is_absolute():
        raise ConfigError(
            f"user_config: cascade.policy is {policy!r}, and a replica has a working directory of its own: give the "
            "file's absolute path."
        )
    return tunables
