"""The gateway whose queries are timed, in a process of its own: the real app under uvicorn on 127.0.0.1.

Its engines are scripted and do not wait. With the ledger: prices, a journal on disk, and a writer of the database in
another process, as in a graph. Without: nothing is priced, written down or sent.
"""

import asyncio
import contextlib
import gc
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import uvicorn

from bench.chaos.engines import scripted
from serve_app.config import Settings
from serve_app.core import Answer, LedgerError, Opening
from serve_app.engines.fake import FakeEngine
from serve_app.gateway import PrometheusMetrics, Services, comparison, create_app
from serve_app.keys import KeySnapshot
from serve_app.ledger import PriceBook, Recorder, SqlLedger
from serve_app.ledger.journal import Journal
from serve_app.patterns import CascadeControl, Node, PatternTable

Way = Literal["off", "local", "replicated"]

_SETTINGS = {
    "specialists": {"model": "smollm-small"},
    "fallback": {"model": "large"},
    "adapters": {},
    "routes": {"adapters": {}},
    "cascade": {"threshold": 0.5, "prefix_tokens": 3},
    "gateway": {"max_in_flight": 100_000},  # a late query is late, not refused
    "prices": {
        "version": "bench",
        "models": {
            "smollm-small": {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.06"},
            "large": {"input_usd_per_mtok": "0.10", "output_usd_per_mtok": "0.30"},
        },
    },
}
_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds so far, of the thread with the event loop and of the whole process."""

    loop_s: float
    process_s: float


class Gateway:
    """The process, seen from the clients': one app after another, each of its own way and on a port of its own."""

    def __init__(self, folder: Path) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve_in_turn, args=(folder, theirs))
        self._process.start()
        theirs.close()  # so that the end of the process shows

    def open(self, way: Way, name: str) -> int:
        """Serve; returns the port."""
        port: int = self._ask("open", way, name)
        return port

    def used(self) -> Used:
        """What it used until now."""
        used: Used = self._ask("used")
        return used

    def shut(self) -> None:
        """End the app; the ledger has every account then."""
        self._ask("shut")

    def close(self) -> int:
        """End the process; returns how many queries the database holds."""
        num_queries: int = self._ask("close")
        self._process.join()
        return num_queries

    def kill(self) -> None:
        """End it, whatever it does. Does nothing after `close`."""
        self._process.kill()
        self._process.join()

    def _ask(self, *message: str) -> Any:
        self._pipe.send(message)
        return self._pipe.recv()


def _serve_in_turn(folder: Path, pipe: Connection) -> None:
    async def serve() -> None:
        ledger = _LedgerProcess(str(folder / "overhead.sqlite3"))
        app: _App | None = None
        while True:
            what, *about = await asyncio.to_thread(pipe.recv)
            if what == "open":
                app = _App(ledger, folder, *about)
                gc.unfreeze()
                gc.collect()
                gc.freeze()  # as the deployment does
                pipe.send(await app.open())
            elif what == "used":
                pipe.send(Used(time.thread_time(), time.process_time()))
            elif what == "shut" and app is not None:
                await app.shut()
                pipe.send(None)
            else:
                pipe.send(ledger.close())
                return

    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(serve())


def _loop() -> asyncio.AbstractEventLoop:
    """Of uvloop where it is installed, as in Ray's replicas."""
    with contextlib.suppress(ImportError):
        loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
        return loop
    return asyncio.new_event_loop()


class _App:
    """The app and its server."""

    _services: Services

    def __init__(self, ledger: "_LedgerProcess", folder: Path, way: Way, name: str) -> None:
        settings = Settings.model_validate(_SETTINGS)
        small = Node("specialists", "smollm-small", FakeEngine(partial(scripted, sure=False)))
        large = Node("fallback", "large", FakeEngine(partial(scripted, sure=True)))
        control = CascadeControl(
            small, large, settings.cascade, comparison, lambda report: self._services.shadowed(report), _Rich()
        )
        table = PatternTable(small, settings.routes, None, large, control)
        book = (_NoPrices if way == "off" else PriceBook)(settings.prices, "large", ("smollm-small",))
        node: Any = ledger
        if way == "off":
            recorder: Recorder = _NoRecorder(node)
        else:
            recorder = Recorder(node, Journal.open(folder / "journals", name), durability=way)
        self._services = Services(settings, table, book, recorder, node, _fine, PrometheusMetrics(control), control)
        config = uvicorn.Config(create_app(self._services), log_level="warning", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """The port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._serving = asyncio.create_task(self._server.serve([listener]))
        port: int = listener.getsockname()[1]
        return port

    async def shut(self) -> None:
        """When it returns the ledger has every account."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        await self._services.close()


class _NoRecorder(Recorder):
    """The ledger is off."""

    def begin(self, opening: Opening) -> None:
        """Nothing."""

    async def synced(self) -> None:
        """Nothing."""

    def put(self, answer: Answer) -> None:
        """Nothing."""

    async def saved(self, query_id: str) -> None:
        """Nothing."""


class _NoPrices(PriceBook):
    """Nothing costs anything."""

    def price(
        self, answer: Answer, cached_cost_nusd: int | None = None, cached_always_large_nusd: int | None = None
    ) -> Answer:
        """As it is."""
        return answer


class _Rich:
    """A guard with money for everything."""

    async def may_escalate(self, query: Any) -> bool:
        return True


async def _fine() -> dict[str, str]:
    return {}


class _LedgerProcess:
    """`core.Ledger.record` in another process, one batch at a time."""

    def __init__(self, database: str) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._one_at_a_time = threading.Lock()
        self._process = context.Process(target=_write_accounts, args=(database, theirs), daemon=True)
        self._process.start()
        self._pipe.recv()  # it has opened the database

    async def record(self, answers: Sequence[Answer]) -> None:
        """Returns after commit. Raises LedgerError."""
        if error := await asyncio.to_thread(self._exchange, tuple(answers)):
            raise LedgerError(error)

    async def keys(self) -> KeySnapshot:
        """There are none."""
        return KeySnapshot()

    def close(self) -> int:
        """End the process; returns how many queries the database holds."""
        num_queries: int = self._exchange(None)
        self._process.join()
        return num_queries

    def _exchange(self, message: Any) -> Any:
        with self._one_at_a_time:  # a batch that a closing recorder no longer waits for is still under way
            self._pipe.send(message)
            return self._pipe.recv()


def _write_accounts(database: str, pipe: Connection) -> None:
    async def serve() -> None:
        ledger = SqlLedger(database)
        await ledger.open()
        pipe.send("open")
        while (answers := await asyncio.to_thread(pipe.recv)) is not None:
            try:
                await ledger.record(answers)
                pipe.send(None)
            except LedgerError as error:
                pipe.send(str(error))
        totals = (await ledger.stats(None, None, ()))["totals"]
        await ledger.close()
        pipe.send(totals["queries"])

    asyncio.run(serve())
