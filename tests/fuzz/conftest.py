"""A whole gateway on loopback, with a real database behind it and scripted engines."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from serve_app.budgets import Ask, BudgetAuthority, Grant
from serve_app.config import Settings
from serve_app.core import Message, Query, RouteScore
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.gateway import PrometheusMetrics, Services, comparison, create_app
from serve_app.keys import KeySnapshot, KeyStore
from serve_app.ledger import PriceBook, Recorder, SqlLedger
from serve_app.ledger.journal import Journal
from serve_app.ledger.texts import StoredText, TextStore
from serve_app.patterns import CascadeControl, Configured, Node, PatternTable
from tests.unit.memory_documents import MemoryDocuments

SETTINGS = {
    "specialists": {"model": "small-model"},
    "fallback": {"model": "large-model"},
    "adapters": {"legal": {"path": "shipped:legal"}},
    "routes": {"adapters": {"legal": "legal"}},
    "cascade": {"threshold": 0.5, "prefix_tokens": 3},
    "cache": {"enabled": True},
    "budgets": {"total": [{"per": "day", "usd": "1000000"}]},
    "ledger": {"texts": {"store": True}},
    "prices": {
        "version": "test-1",
        "models": {
            "small-model": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"},
            "large-model": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"},
        },
    },
}


class AnyRouter:
    """A core.Router: `legal` where the text has an even length."""

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        label = "legal" if sum(len(message.content) for message in conversation) % 2 == 0 else "general"
        return RouteScore(label, 0.9, {label: 0.9})


class Guarded:
    """A patterns.Guard that is given its services later."""

    services: Services

    async def may_escalate(self, query: Query) -> bool:
        return await self.services.purse.may_escalate(query)


class WholeLedger(SqlLedger):
    """All that the ledger's deployment answers."""

    async def open(self) -> None:
        await super().open()
        self._keys, self._budgets, self._texts = (
            KeyStore(self.store),
            BudgetAuthority(self.store),
            TextStore(self.store),
        )

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        return await self._budgets.lease(gateway, asks)

    async def keys(self) -> KeySnapshot:
        return await self._keys.keys()

    async def put_texts(self, stored: Sequence[StoredText]) -> None:
        await self._texts.put(stored)


def services_over(ledger: WholeLedger, journals: Path) -> Services:
    """The gateway's parts, as a deployment puts them together."""
    settings = Settings.model_validate(SETTINGS)
    unsure = FakeAnswer("I am not sure", logprob=-3.0)
    small = Node(
        "specialists",
        "small-model",
        FakeEngine({"": unsure, "0": unsure}, adapters={"legal": "v1"}),
        adapters=Configured(("legal",)),
    )
    large = Node("fallback", "large-model", FakeEngine())
    guard = Guarded()
    control = CascadeControl(
        small, large, settings.cascade, comparison, lambda report: guard.services.shadowed(report), guard
    )
    table = PatternTable(small, settings.routes, AnyRouter(), large, control)

    async def probe() -> dict[str, str]:
        return {"specialists": "ok"}

    guard.services = Services(
        settings,
        table,
        PriceBook(settings.prices, "large-model", ("small-model",)),
        Recorder(ledger, Journal.open(journals, "fuzzed")),
        ledger,
        probe,
        PrometheusMetrics(control),
        control,
        engines={"specialists": small.engine, "fallback": large.engine},
        documents=MemoryDocuments(),
    )
    return guard.services


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The gateway's URL while it runs, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()
    servers: list[uvicorn.Server] = []

    async def main() -> None:
        ledger = WholeLedger(str(folder / "ledger.sqlite3"))
        await ledger.open()
        services = services_over(ledger, folder / "journals")
        servers.append(uvicorn.Server(uvicorn.Config(create_app(services), log_level="error", lifespan="off")))
        started.set()
        await servers[0].serve([listener])
        await services.close()
        await ledger.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    servers[0].should_exit = True
    thread.join()


@pytest.fixture(scope="package")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("fuzz")) as url:
        yield url
