"""GET /healthz, /readyz and /metrics: for machines, without a key."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from serve_app.core import HeadraceError
from serve_app.gateway.auth import key_of
from serve_app.gateway.error_codes import errors
from serve_app.gateway.schemas.server import Health, Readiness
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import Services, services_of

_PROBE_TIMEOUT_S = 10.0
_WELL = ("ok", "cold")
_DISPENSABLE = frozenset({"ledger", "retriever"})
"""Nodes without which queries are answered: accounts wait, and `rag` does as `rag.when_fails` says."""


router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=shown(Health), responses=errors())
async def healthz() -> dict[str, str]:
    """Say that this process lives."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=None,
    responses={
        200: {"model": Readiness, "description": "Queries can be answered and accounted."},
        503: {"model": Readiness, "description": "They cannot."},
        **errors(),
    },
)
async def readyz(request: Request) -> JSONResponse:
    """Say whether queries can be answered and accounted.

    200 when every node answers that answers need, and accounts can be kept; else 503. The reasons, which may name
    hosts and files, are for admin keys, and for all where the server is open. A ledger that is away makes it
    `degraded`, still with 200: queries are answered, their accounts wait. So does a retriever that is away, and so
    do API keys that are a copy from disk: one that was revoked since is still taken. A fallback that is stopped on
    purpose is `cold`, which is well.
    """
    services = services_of(request)
    tells_why = await _may_know_why(services, request)
    nodes, journal = await _probed(services), _journal(services, tells_why)
    if not tells_why:
        nodes = {name: state if state in _WELL else "does not answer" for name, state in nodes.items()}
    away = {name for name, state in nodes.items() if state not in _WELL}
    ready = not (away - _DISPENSABLE) and not journal["refuses"]
    kept_age_s = services.keys.kept_age_s
    status = ("degraded" if away or kept_age_s is not None else "ready") if ready else "not ready"
    keys = {"state": "ok"} if kept_age_s is None else {"state": "copy", "age_s": round(kept_age_s)}
    body = {"status": status, "nodes": dict(nodes), "journal": journal, "keys": keys}
    return JSONResponse(body, 200 if ready else 503)


@router.get(
    "/metrics",
    response_model=None,
    response_class=Response,
    responses={
        200: {"description": "The figures.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **errors(),
    },
)
async def metrics(request: Request) -> Response:
    """Give the figures of this replica, in Prometheus' text format."""
    page, media_type = services_of(request).metrics.exposition()
    return Response(page, media_type=media_type)


async def _may_know_why(services: Services, request: Request) -> bool:
    """Whether this is an admin key, or the server is known to be open."""
    try:
        key = await key_of(services.keys, request.headers.get("authorization", ""))
    except HeadraceError:
        return False
    return key is None or key.role == "admin"


def _journal(services: Services, tells_why: bool) -> dict[str, str | int | bool]:
    """Where accounts stand. A ledger that is away makes nobody refuse: accounts wait on the gateway's own disk."""
    recorder = services.recorder
    refuses = recorder.state == "full" and services.settings.ledger.journal.when_full == "refuse"
    words = {
        "ok": "Accounts reach the ledger.",
        "behind": "The ledger does not take accounts, or not fast enough; they are kept here and sent again.",
        "full": "Accounts find no room here; "
        + ("new queries get 503." if refuses else "new queries are answered and may stay unrecorded."),
    }
    error = recorder.last_error
    causes = [recorder.problem, str(error) if isinstance(error, HeadraceError) else None] if tells_why else []
    return {
        "state": recorder.state,
        "refuses": refuses,
        "pending_accounts": recorder.num_pending,
        "pending_bytes": recorder.pending_bytes,
        "detail": " ".join([words[recorder.state], *(cause for cause in causes if cause)]),
    }


async def _probed(services: Services) -> Mapping[str, str]:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            return await services.probe()
    except TimeoutError:
        return {"probe": f"the nodes did not all answer within {_PROBE_TIMEOUT_S:g} s"}
    except Exception as error:  # a probe that fails is the answer to the question asked here
        return {"probe": str(error) or type(error).__name__}
