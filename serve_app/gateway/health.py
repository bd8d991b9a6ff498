"""GET /healthz, /readyz and /metrics: for machines, without a key."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from serve_app.gateway.services import Services

_PROBE_TIMEOUT_S = 10.0


def health_routes(services: Services) -> APIRouter:
    """Alive, ready, and in figures."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process answers."""
        return {"status": "ok"}

    @router.get("/readyz", response_model=None)
    async def readyz() -> JSONResponse:
        """200 when every node answers; else 503 with the reason of each that does not."""
        nodes = await _probed(services)
        ready = all(state == "ok" for state in nodes.values())
        body = {"status": "ready" if ready else "not ready", "nodes": dict(nodes)}
        return JSONResponse(body, 200 if ready else 503)

    @router.get("/metrics", response_model=None)
    async def metrics() -> Response:
        """Prometheus text format, of this replica."""
        page, media_type = services.metrics.exposition()
        return Response(page, media_type=media_type)

    return router


async def _probed(services: Services) -> Mapping[str, str]:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            return await services.probe()
    except TimeoutError:
        return {"probe": f"the nodes did not all answer within {_PROBE_TIMEOUT_S:g} s"}
    except Exception as error:  # a probe that fails is the answer to the question asked here
        return {"probe": str(error) or type(error).__name__}
