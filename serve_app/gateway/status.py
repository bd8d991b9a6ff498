"""GET /v1/status: what this gateway replica knows that is not in the ledger. The dashboard's second source.

Nothing in it comes from the database.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request

from serve_app import __version__
from serve_app.adapters.registry.records import ServedAdapter
from serve_app.budgets import BudgetUse
from serve_app.cache import ResponseCache
from serve_app.confidence.watch import RouteReport
from serve_app.core import Engine, EngineInfo, HeadraceError
from serve_app.gateway.accounts import own_key
from serve_app.gateway.error_codes import KEY_CODES, errors
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.schemas.status import GatewayStatus
from serve_app.gateway.services import Services, services_of
from serve_app.ledger.public import usd

_ENGINE_TIMEOUT_S = 2.0


router = APIRouter(prefix="/v1/status", tags=["status"])


@router.get("", response_model=shown(GatewayStatus), responses=errors(*KEY_CODES))
async def status(request: Request) -> dict[str, Any]:
    """Say what this gateway knows of the service.

    Quality targets and their audits, adapters, engines, budgets, the way of the accounts, the cache. A user key is
    told of its own budgets only, and no error texts.
    """
    services = services_of(request)
    infos = await _infos(services.engines)
    key, own = request.state.key, own_key(request)
    return {
        "version": __version__,
        "gateway": services.gateway_id,
        "viewer": _viewer(request),
        "in_flight": services.in_flight.num_queries,
        "places": services.in_flight.places,
        "refused": dict(services.in_flight.num_refused),
        "models": _models(services),
        "cascade": _cascade(services),
        "routes": _routes(services),
        "adapters": [
            adapter
            for adapter in _adapters(services, infos.get("specialists"))
            if key is None or key.may_ask(adapter["name"])
        ],
        "registry": _registry(services, hide_error=own is not None),
        "engines": [_engine(node, info, hide_error=own is not None) for node, info in infos.items()],
        "prices": {"version": services.prices.version},
        "budgets": list(_budgets(services.budgets.report(), own, services.settings.budgets.warn_at)),
        "ledger": _ledger(services, hide_error=own is not None),
        "cache": _cache(services.cache),
    }


def _viewer(request: Request) -> dict[str, Any]:
    """Who asks; the role `open` is a server without keys."""
    key = request.state.key
    return {"role": "open", "key_id": None} if key is None else {"role": key.role, "key_id": key.key_id}


def _models(services: Services) -> dict[str, str]:
    """Node -> base model, of the nodes that this graph has."""
    settings = services.settings
    models = {"specialists": settings.specialists.model}
    return models | ({"fallback": settings.fallback.model} if "large" in services.table.names else {})


def _cascade(services: Services) -> dict[str, Any]:
    settings = services.settings.cascade
    mode = "cascade" if settings.watch.mirror_share == 0 else "mirror"
    if not settings.enabled:
        mode = "off"
    return {
        "mode": "absent" if services.control is None else mode,
        "policy": settings.policy,
        "audit_share": settings.watch.audit_share,
        "on_breach": settings.watch.on_breach,
    }


def _routes(services: Services) -> list[dict[str, Any]]:
    """The labels of the configuration, and every route that has a target; null is a query that no router saw."""
    reports = services.control.report() if services.control else {}
    routes, missing = services.table.routes, services.missing_routes()
    labels = dict.fromkeys([*routes.adapters, *reports])
    return [
        {
            "route": label,
            "adapter": None if label is None else routes.adapter_for(label),
            "adapter_is_served": (label if label in routes.adapters else "default") not in missing,
            "state": reports[label].state if label in reports else "no_target",
            "audit": _audit(reports[label]) if label in reports else None,
        }
        for label in labels
    ]


def _audit(report: RouteReport) -> dict[str, Any]:
    """Risks are shares of accepted answers that are wrong; the evidence is a natural logarithm."""
    low, high = report.risk_bounds
    return {
        "target": report.alpha,
        "epoch": report.epoch,
        "num_audited": report.num_audited,
        "num_wrong": report.num_wrong,
        "num_not_scored": report.num_not_scored,
        "num_stale": report.num_stale,
        "log_e_value": report.log_e_value,
        "log_alarm": report.log_alarm,
        "risk_low": low,
        "risk_high": high,
        "drift": [{"signal": signal, "level": drift.level, "psi": drift.psi} for signal, drift in report.drift.items()],
    }


def _adapters(services: Services, info: EngineInfo | HeadraceError | None) -> list[dict[str, Any]]:
    """Those that may be asked for. Versions are the registry's; else what one replica of the engine says, or null.

    Which are resident is what that replica says.
    """
    said = info if isinstance(info, EngineInfo) else None
    names = services.table.adapters.names if services.book or said is None else said.adapters
    return [_adapter(name, services.book.served(name) if services.book else None, said) for name in sorted(names)]


def _adapter(name: str, served: ServedAdapter | None, said: EngineInfo | None) -> dict[str, Any]:
    about = {
        "name": name,
        "version": said.adapters.get(name) if said else None,
        "is_resident": name in said.resident_adapters if said else None,
    }
    if served is None:
        return about
    return about | {
        "version": served.live,
        "canary": served.canary,
        "canary_weight": served.canary_weight,
        "is_pinned": served.pinned,
    }


def _registry(services: Services, hide_error: bool) -> dict[str, Any] | None:
    """How far this replica has followed the adapter registry; null: there is none."""
    book = services.book
    if book is None:
        return None
    return {
        "revision": None if book.snapshot is None else book.snapshot.revision,
        "age_s": book.age_s,
        "last_error": None if hide_error or book.last_error is None else str(book.last_error),
    }


async def _infos(engines: Mapping[str, Engine]) -> dict[str, EngineInfo | HeadraceError]:
    """What each engine says, or why it says nothing."""

    async def info(engine: Engine) -> EngineInfo | HeadraceError:
        try:
            async with asyncio.timeout(_ENGINE_TIMEOUT_S):
                return await engine.info()
        except HeadraceError as error:
            return error
        except TimeoutError:
            return HeadraceError(f"no answer within {_ENGINE_TIMEOUT_S:g} s")

    return dict(zip(engines, await asyncio.gather(*map(info, engines.values())), strict=True))


def _engine(node: str, info: EngineInfo | HeadraceError, hide_error: bool) -> dict[str, Any]:
    if isinstance(info, HeadraceError):
        return {"node": node, "error": "does not answer" if hide_error else str(info)}
    return {"node": node, "error": None, "active_rows": info.active_rows, "waiting_calls": info.waiting_calls}


def _budgets(uses: Iterable[BudgetUse], own: str | None, warn_at: float) -> Iterator[dict[str, Any]]:
    """One entry for each limit; money in US dollars. `own`: only those of this key."""
    for use in uses:
        budget, meter = use.budget, use.budget.meter
        if own is not None and meter.key_id != own:
            continue
        whose = {"total": "all queries", "keyless": "queries with no key", "key": f"key {meter.key_id}"}[meter.scope]
        common = {"name": meter.name, "who": whose, "per": meter.per, "warn_at": warn_at, "until": use.span.end_s}
        if budget.nusd is not None:
            share = use.used.nusd / budget.nusd
            money = {"unit": "usd", "limit": usd(budget.nusd), "used": usd(use.used.nusd), "used_share": share}
            yield common | money
        if budget.tokens is not None:
            share = use.used.tokens / budget.tokens
            yield common | {"unit": "tokens", "limit": budget.tokens, "used": use.used.tokens, "used_share": share}


def _ledger(services: Services, hide_error: bool) -> dict[str, Any]:
    """How far the accounts of this replica are behind the database."""
    recorder = services.recorder
    return {
        "state": recorder.state,
        "durability": services.settings.ledger.durability,
        "num_pending": recorder.num_pending,
        "pending_bytes": recorder.pending_bytes,
        "num_unrecorded": recorder.num_unrecorded,
        "num_unreplicated": recorder.num_unreplicated,
        "last_error": None if hide_error or recorder.last_error is None else str(recorder.last_error),
    }


def _cache(cache: ResponseCache) -> dict[str, Any] | None:
    """What the response cache holds now; its hits are in the ledger. None: it is switched off."""
    if not cache.settings.enabled:
        return None
    report = cache.report()
    return {
        "num_entries": report.entries,
        "num_bytes": report.num_bytes,
        "max_bytes": cache.settings.max_mb * 1024 * 1024,
        "exact_hits": report.exact_hits,
        "semantic_hits": report.semantic_hits,
        "misses": report.misses,
    }
