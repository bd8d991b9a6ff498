"""What the ledger adds to a query at a steady load: the same queries with it and without it, round by round in turn.

The gateway is the real app, called over ASGI in this process, its engines are scripted and do not wait. With the
ledger: prices, a journal on disk, and a writer of the database in a process of its own, as in a graph; `local` and
`replicated` are the two durabilities. Without: nothing is priced, written down or sent. Queries arrive at random
(Poisson), at the same moments each way. Latency counts from the moment a query should have arrived to the last byte, so
time in which the loop was late is in it. Beside it the CPU time of the gateway's thread is told, which other work on
the machine disturbs less.
"""

import asyncio
import gc
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from bench.chaos.engines import scripted
from serve_app.config import Settings
from serve_app.core import Answer, LedgerError, Opening
from serve_app.engines.fake import FakeEngine
from serve_app.gateway import PrometheusMetrics, Services, comparison, create_app
from serve_app.keys import KeySnapshot
from serve_app.ledger import PriceBook, Recorder, SqlLedger
from serve_app.ledger.journal import Journal
from serve_app.patterns import CascadeControl, Node, PatternTable

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
_ESCALATED_SHARE, _STREAMED_SHARE = 0.1, 0.5
Way = Literal["off", "local", "replicated"]
WAYS: tuple[Way, ...] = get_args(Way)
_WARM_UP = 0.2
"""Share of a round that is not counted."""


class NoRecorder(Recorder):
    """The ledger is off."""

    def begin(self, opening: Opening) -> None:
        """Nothing."""

    async def synced(self) -> None:
        """Nothing."""

    def put(self, answer: Answer) -> None:
        """Nothing."""

    async def saved(self, query_id: str) -> None:
        """Nothing."""


class NoPrices(PriceBook):
    """Nothing costs anything."""

    def price(
        self, answer: Answer, cached_cost_nusd: int | None = None, cached_always_large_nusd: int | None = None
    ) -> Answer:
        """As it is."""
        return answer


class LedgerProcess:
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


@dataclass(frozen=True, slots=True)
class Load:
    """So many queries a second, for so long."""

    rate: int = 500
    seconds: float = 5.0
    rounds: int = 6
    """Of each way."""


@asynccontextmanager
async def _gateway(ledger: LedgerProcess, folder: Path, name: str, way: Way) -> AsyncIterator[Any]:
    """The app; when it is closed the ledger has every account."""
    settings = Settings.model_validate(_SETTINGS)
    small = Node("specialists", "smollm-small", FakeEngine(partial(scripted, sure=False)))
    large = Node("fallback", "large", FakeEngine(partial(scripted, sure=True)))
    holder: list[Services] = []
    control = CascadeControl(
        small, large, settings.cascade, comparison, lambda report: holder[0].shadowed(report), _Rich()
    )
    table = PatternTable(small, (), settings.routes, None, large, control)
    book = (NoPrices if way == "off" else PriceBook)(settings.prices, "large", ("smollm-small",))
    node: Any = ledger
    if way == "off":
        recorder: Recorder = NoRecorder(node)
    else:
        recorder = Recorder(node, Journal.open(folder / "journals", name), durability=way)
    services = Services(settings, table, book, recorder, node, _fine, PrometheusMetrics(control), control)
    holder.append(services)
    try:
        yield create_app(services)
    finally:
        await services.close()


class _Rich:
    """A guard with money for everything."""

    async def may_escalate(self, query: Any) -> bool:
        return True


async def _fine() -> dict[str, str]:
    return {}


async def _ask(app: Any, text: str, stream: bool, due_s: float) -> float:
    """One query; milliseconds from `due_s` to the last byte."""
    body = json.dumps({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    asked, status, last_s, over = False, 0, due_s, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, last_s
        status = message.get("status", status)
        last_s = time.perf_counter()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    assert status == 200, f"status {status}"
    return 1e3 * (last_s - due_s)


@dataclass(frozen=True, slots=True)
class _Round:
    latencies_ms: np.ndarray
    """Without the warm-up's."""
    cpu_ms: float
    """Of the loop's thread, per query; what the clients take is in it."""


async def _round(app: Any, load: Load, seed: int) -> _Round:
    chance, before_s = random.Random(seed), time.thread_time()
    num_queries = int(load.rate * load.seconds)
    start_s, due_s, tasks = time.perf_counter(), 0.0, []
    for number in range(num_queries):
        due_s += chance.expovariate(load.rate)
        word = "unsure" if chance.random() < _ESCALATED_SHARE else "easy"
        stream = chance.random() < _STREAMED_SHARE
        await asyncio.sleep(max(0.0, start_s + due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(_ask(app, f"{word} question {number}", stream, start_s + due_s)))
    latencies_ms = np.array(await asyncio.gather(*tasks))[int(_WARM_UP * num_queries) :]
    return _Round(latencies_ms, 1e3 * (time.thread_time() - before_s) / num_queries)


async def measure(folder: Path, load: Load) -> dict[str, Any]:
    """The figures, in milliseconds. Every account of the rounds with the ledger is in its database in the end."""
    gc.collect()
    gc.freeze()  # as the deployment does
    ledger = LedgerProcess(str(folder / "overhead.sqlite3"))
    rounds: dict[Way, list[_Round]] = {way: [] for way in WAYS}
    for number in range(load.rounds):
        for turn in range(len(WAYS)):  # another one begins each round
            way = WAYS[(number + turn) % len(WAYS)]
            async with _gateway(ledger, folder, f"{way}-{number}", way) as app:
                rounds[way].append(await _round(app, load, number))
    num_recorded = ledger.close()
    assert num_recorded == 2 * load.rounds * int(load.rate * load.seconds), f"{num_recorded} accounts are stored"
    each = {way: [_figures([one]) for one in of_one] for way, of_one in rounds.items()}
    return {
        "queries_per_s": load.rate,
        "seconds": load.seconds,
        "rounds": load.rounds,
        "how": "over ASGI in process, the database's writer in a process of its own, on SQLite",
        "added": {way: _added(each[way], each["off"]) for way in WAYS[1:]},
        "whole": {way: _figures(of_one) for way, of_one in rounds.items()},
        "each_round": each,
    }


def _figures(rounds: Sequence[_Round]) -> dict[str, float]:
    """Milliseconds: percentiles over the queries of all rounds, and CPU time per query."""
    p50, p99 = np.percentile(np.concatenate([one.latencies_ms for one in rounds]), (50, 99))
    cpu = np.mean([one.cpu_ms for one in rounds])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "cpu": round(float(cpu), 3)}


def _added(of_way: Sequence[dict[str, float]], off: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median over the rounds of what each added to the round beside it: one disturbed round does not count."""
    pairs = list(zip(of_way, off, strict=True))
    return {name: round(float(np.median([one[name] - other[name] for one, other in pairs])), 3) for name in off[0]}
