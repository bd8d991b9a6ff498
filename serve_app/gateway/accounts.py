"""GET /v1/ledger/stats and /v1/ledger/queries/{id}: the read side of the ledger."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from serve_app.core import Ledger, RequestError
from serve_app.gateway.errors import NotFound
from serve_app.gateway.ids import query_id_of
from serve_app.gateway.services import Services
from serve_app.ledger import parse_time

_TIME = "2026-03-01, 2026-03-01T09:30 (UTC), seconds since the epoch, or 24h, 7d for that long ago."


def account_routes(services: Services) -> APIRouter:
    """Both wait for the accounts of this replica to be stored, so that an answer just given is in what they say."""
    router = APIRouter(prefix="/v1/ledger", tags=["ledger"])

    async def settled() -> Ledger:
        await services.recorder.flush()
        return services.ledger

    @router.get("/stats")
    async def stats(
        since: Annotated[str | None, Query(description=_TIME)] = None,
        until: Annotated[str | None, Query(description=f"Exclusive; {_TIME}")] = None,
        group_by: Annotated[str, Query(description="route, adapter, model, key, outcome; comma-separated.")] = "",
    ) -> dict[str, Any]:
        """Totals over a time range, and by group."""
        now_s = time.time()
        since_s = parse_time(since, now_s, "since") if since else None
        until_s = parse_time(until, now_s, "until") if until else None
        if since_s is not None and until_s is not None and until_s <= since_s:
            raise RequestError("until must be later than since.", "until", "invalid_value")
        keys = tuple(key.strip() for key in group_by.split(",") if key.strip())
        return await (await settled()).stats(since_s, until_s, keys)

    @router.get("/queries/{query_id}")
    async def query(query_id: str) -> dict[str, Any]:
        """The account of one query, by its id or its answer's."""
        account = await (await settled()).query(query_id_of(query_id))
        if account is None:
            raise NotFound(f"The ledger has no query {query_id[:80]!r}.", "query_id", "query_not_found")
        return account

    return router
