"""A whole gateway on 127.0.0.1 to look at: real ledger, budgets and keys, scripted engines, synthetic accounts."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from policies import audited, policy_file
from traffic import LARGE, ROUTES, SMALL, VERSIONS, accounts

from serve_app.budgets import Ask, BudgetAuthority, Grant
from serve_app.config import Settings
from serve_app.core import LedgerError, Message, RouteScore
from serve_app.engines.fake import FakeEngine
from serve_app.gateway import PrometheusMetrics, Services, comparison, create_app
from serve_app.keys import KeySnapshot, KeyStore
from serve_app.ledger import PriceBook, Recorder, SqlLedger
from serve_app.ledger.texts import StoredText, TextStore
from serve_app.patterns import CascadeControl, Configured, Node, PatternTable

T = TypeVar("T")

SETTINGS: dict[str, Any] = {
    "specialists": {"model": SMALL},
    "fallback": {"model": LARGE},
    "adapters": {name: {"path": f"shipped:{name}"} for name in VERSIONS},
    "routes": {"adapters": {"code": "code", "medical": "medical", "legal": "legal", "general": "base"}},
    "cache": {"enabled": True},
    "budgets": {"total": [{"per": "day", "usd": "50"}], "keys": {"search-team": [{"per": "day", "tokens": 2_000_000}]}},
    "prices": {
        "version": "2026-11",
        "flex_factor": "0.5",
        "models": {
            SMALL: {"input_usd_per_mtok": "3", "cached_input_usd_per_mtok": "1", "output_usd_per_mtok": "9"},
            LARGE: {"input_usd_per_mtok": "12", "output_usd_per_mtok": "36"},
        },
    },
}


class FirstWordRouter:
    """A core.Router: the route is the first word of the last message, where it is one."""

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        label = conversation[-1].content.partition(" ")[0]
        label = label if label in ROUTES else "general"
        return RouteScore(label, 0.93, {label: 0.93}, busy_s=0.003)


class Books(SqlLedger):
    """Everything that a gateway asks of the ledger's deployment, in this process."""

    away = False
    """Whether the database does not answer."""

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        return await BudgetAuthority(self.store).lease(gateway, asks)

    async def keys(self) -> KeySnapshot:
        return await KeyStore(self.store).keys()

    async def put_texts(self, stored: Sequence[StoredText]) -> None:
        await TextStore(self.store).put(stored)

    async def stats(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.away:
            raise LedgerError("The ledger's database does not answer.")
        return await super().stats(*args, **kwargs)


@dataclass
class Showcase:
    """What to show. Given to `serve`."""

    folder: Path
    num_queries: int = 0
    hours: float = 20.0
    overrides: dict[str, Any] = field(default_factory=dict)
    fitted: bool = True
    """Whether a fitted policy gives the routes targets, with audits of every verdict."""
    books: Books = field(init=False)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.books = Books(f"sqlite:///{self.folder}/ledger.sqlite3")
        self.small = FakeEngine(default="a small answer in seven short words", adapters=VERSIONS)
        self.large = FakeEngine(default="the large model says this")
        self.services = self._services()

    def _services(self) -> Services:
        cascade = {"watch": {"audit_share": 0.02, "on_breach": "alert"}}
        if self.fitted:
            cascade |= {"policy": str(policy_file(self.folder))}
        settings = Settings.model_validate({"cascade": cascade, **SETTINGS, **self.overrides})
        small = Node("specialists", SMALL, self.small, adapters=Configured(tuple(VERSIONS)))
        large = Node("fallback", LARGE, self.large)
        control = CascadeControl(small, large, settings.cascade, comparison, lambda report: None)
        if self.fitted:
            audited(control)
        table = PatternTable(small, settings.routes, FirstWordRouter(), large, control)
        book = PriceBook(settings.prices, LARGE, (SMALL,))
        return Services(
            settings,
            table,
            book,
            Recorder(self.books),
            self.books,
            self._probe,
            PrometheusMetrics(control),
            control,
            gateway_id="gateway-1",
            engines={"specialists": self.small, "fallback": self.large},
        )

    async def _probe(self) -> dict[str, str]:
        return {"specialists": "ok", "fallback": "ok"}

    async def fill(self) -> None:
        """Store the synthetic accounts."""
        price = self.services.prices.price
        priced = []
        for account in accounts(self.num_queries, time.time(), self.hours) if self.num_queries else ():
            cached_usd = 900_000 if account.cache else None
            priced.append(price(account, cached_usd) if cached_usd else price(account))
        await self.books.record(priced)

    @asynccontextmanager
    async def running(self, listener: socket.socket) -> AsyncIterator[uvicorn.Server]:
        """Open, fill and serve until `should_exit`; close."""
        await self.books.open()
        await self.fill()
        server = uvicorn.Server(uvicorn.Config(create_app(self.services), log_level="error", lifespan="off"))
        try:
            yield server
            await server.serve([listener])
        finally:
            await self.services.close()
            await self.books.close()


class Running:
    """A showcase served from a thread; `url` is its address."""

    def __init__(self, showcase: Showcase) -> None:
        self.showcase = showcase
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(listener)))
        self._thread.start()
        self._ready.wait(60)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the server's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _main(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self.showcase.running(listener) as server:
                self._server = server
                self._ready.set()  # the socket listens already: early requests wait in it
        finally:
            self._ready.set()

    def stop(self) -> None:
        """End the server and wait for it."""
        self._server.should_exit = True
        self._thread.join()
