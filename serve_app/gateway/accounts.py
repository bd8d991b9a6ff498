"""GET /v1/ledger/stats, /v1/ledger/queries and /v1/ledger/queries/{id}: the read side of the ledger.

All wait for the accounts of this replica to be stored, so that an answer just given is in what they say. A user key
sees the accounts of its own queries, and is told that there are no others.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request

from serve_app.core import LedgerError, RequestError
from serve_app.gateway.error_codes import KEY_CODES, errors
from serve_app.gateway.errors import NotFound
from serve_app.gateway.ids import query_id_of
from serve_app.gateway.schemas.accounts import AccountList, LedgerStats, StoredAccount
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import LedgerNode, services_of
from serve_app.ledger import GROUP_KEYS, parse_time

_TIME = "2026-03-01, 2026-03-01T09:30 (UTC), seconds since the epoch, or 24h, 7d for that long ago."
_MAX_PAGE = 200
_TIMEOUT_S = 30.0
"""A ledger that hangs must not hold up those who only look."""
_LOG = logging.getLogger(__name__)

T = TypeVar("T")

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


def own_key(request: Request) -> str | None:
    """The key whose accounts alone a request may see; None sees all: an admin key, or a server without keys."""
    key = request.state.key
    return None if key is None or key.role == "admin" else str(key.key_id)


@router.get("/stats", response_model=shown(LedgerStats), responses=errors(*KEY_CODES, "invalid_value"))
async def stats(
    request: Request,
    since: Annotated[str | None, Query(description=_TIME)] = None,
    until: Annotated[str | None, Query(description=f"Exclusive; {_TIME}")] = None,
    group_by: Annotated[str, Query(description=f"{', '.join(GROUP_KEYS)}; comma-separated.")] = "",
) -> dict[str, Any]:
    """Add up the queries of a time range, and of each group."""
    now_s = time.time()
    since_s = parse_time(since, now_s, "since") if since else None
    until_s = parse_time(until, now_s, "until") if until else None
    if since_s is not None and until_s is not None and until_s <= since_s:
        raise RequestError("until must be later than since.", "until", "invalid_value")
    keys = tuple(key.strip() for key in group_by.split(",") if key.strip())
    own = own_key(request)
    return await _read(request, lambda ledger: ledger.stats(since_s, until_s, keys, own))


@router.get(
    "/queries",
    response_model=shown(AccountList),
    responses=errors(*KEY_CODES, "invalid_value", "query_not_found"),
)
async def queries(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Accounts on a page.")] = 50,
    before: Annotated[str | None, Query(description="Id of a query: those older than it.")] = None,
) -> dict[str, Any]:
    """List the latest accounts, newest first, with every attempt."""
    place = None
    if before:
        newer = await _account(request, before, "before")
        place = (float(newer["created_at_s"]), str(newer["query_id"]))
    own = own_key(request)
    return {"data": await _read(request, lambda ledger: ledger.recent(limit, place, own))}


@router.get("/queries/{query_id}", response_model=shown(StoredAccount), responses=errors(*KEY_CODES, "query_not_found"))
async def query(
    request: Request,
    query_id: Annotated[str, Path(description="Id of the query, or of its answer (`chatcmpl-…`).")],
) -> dict[str, Any]:
    """Give the account of one query.

    The gateway that is asked sends off its own accounts first; those of others follow within `ledger.flush_ms`. A
    request that was refused before it reached a model (a 400, 401, 403, 404, 413, or a 429 of the gateway itself)
    is no query and has no account.
    """
    return await _account(request, query_id, "query_id")


async def _account(request: Request, name: str, param: str) -> dict[str, Any]:
    account = await _read(request, lambda ledger: ledger.query(query_id_of(name)))
    own = own_key(request)
    if account is None or (own is not None and account["key_id"] != own):
        raise NotFound(f"The ledger has no query {name[:80]!r}.", param, "query_not_found")
    return account


async def _read(request: Request, work: Callable[[LedgerNode], Awaitable[T]]) -> T:
    """Raises LedgerError. Its cause, which may name hosts and files, is not for user keys."""
    services = services_of(request)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await services.recorder.flush()
            return await work(services.ledger)
    except TimeoutError:
        raise LedgerError(f"The ledger did not answer within {_TIMEOUT_S:g} s; try again later.") from None
    except LedgerError as error:
        if own_key(request) is None:
            raise
        _LOG.warning("The ledger cannot be read: %s", error)
        raise LedgerError("The ledger cannot be read now; try again later.") from error
