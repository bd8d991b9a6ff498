"""What the ledger adds to a query at a steady load: the same queries with it and without it, round by round in turn.

Three processes, as in a graph: the gateway under uvicorn (`bench.chaos.overhead_gateway`), the writer of the database,
and this one, the clients. `local` and `replicated` are the two durabilities; `off` has no ledger. Queries arrive at
random (Poisson), at the same moments each way, whether or not earlier ones are answered, over connections that are
kept. Latency counts from the moment a query should have arrived to the last byte. Beside it the CPU time of the
gateway is told, of its event loop's thread and of its process, which other work on the machine disturbs less.
"""

import asyncio
import gc
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from bench.chaos.overhead_gateway import Gateway, Way
from bench.load.client import precise_loop

WAYS: tuple[Way, ...] = get_args(Way)
_ESCALATED_SHARE, _STREAMED_SHARE = 0.1, 0.5
_WARM_UP = 0.2
"""Share of a round that is not counted."""
_NUM_CONNECTIONS = 32
"""Open before the first query; more are opened when all are busy."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many queries a second, for so long."""

    rate: int = 500
    seconds: float = 5.0
    rounds: int = 6
    """Of each way."""


class _Connection(asyncio.Protocol):
    """One request at a time; its answer has ended when its length has come, or the last chunk of a stream."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._num_bytes: int | None = None
        """Of the whole answer, its head included; None: not known yet, or a stream."""
        self._ended: asyncio.Future[float] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        is_first = not self._received
        self._received += data
        if is_first:
            self._read_head()
        whole = self._num_bytes
        if len(self._received) >= whole if whole is not None else self._received.endswith(b"0\r\n\r\n"):
            assert self._ended is not None, "an answer that nobody asked for"
            self._ended.set_result(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(ConnectionError("the gateway closed a connection"))

    def ask(self, request: bytes) -> "asyncio.Future[float]":
        """Send; when the last byte has come, in seconds of `perf_counter`."""
        assert self._transport is not None, "not connected"
        self._received.clear()
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._ended

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _read_head(self) -> None:
        """Uvicorn writes the head at once."""
        head, found, _ = bytes(self._received).partition(b"\r\n\r\n")
        status, *fields = head.lower().split(b"\r\n")
        assert found and status.split()[1] == b"200", f"an answer begins with {status!r}"
        lengths = [int(field.partition(b":")[2]) for field in fields if field.startswith(b"content-length:")]
        self._num_bytes = len(head) + 4 + lengths[0] if lengths else None


class _Clients:
    """All clients: whoever asks takes a connection that is free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[_Connection] = []

    async def connect(self) -> None:
        """Open the first connections."""
        self._free = [await self._new() for _ in range(_NUM_CONNECTIONS)]

    async def ask(self, request: bytes, due_s: float) -> float:
        """One query; milliseconds from `due_s` to the last byte."""
        connection = self._free.pop() if self._free else await self._new()
        ended_s = await connection.ask(request)
        self._free.append(connection)
        return 1e3 * (ended_s - due_s)

    def close(self) -> None:
        """Hang up."""
        for connection in self._free:
            connection.close()

    async def _new(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return connection


def _request(text: str, stream: bool) -> bytes:
    body = json.dumps({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True, slots=True)
class _Arrival:
    due_s: float
    """After the round's start."""
    request: bytes


def _arrivals(load: Load, seed: int) -> list[_Arrival]:
    chance, due_s, arrivals = random.Random(seed), 0.0, []
    for number in range(int(load.rate * load.seconds)):
        due_s += chance.expovariate(load.rate)
        word = "unsure" if chance.random() < _ESCALATED_SHARE else "easy"
        request = _request(f"{word} question {number}", chance.random() < _STREAMED_SHARE)
        arrivals.append(_Arrival(due_s, request))
    return arrivals


@dataclass(frozen=True, slots=True)
class _Round:
    latencies_ms: np.ndarray
    """Without the warm-up's."""
    cpu_ms: float
    """Of the gateway's event loop, per query."""
    process_cpu_ms: float
    """Of all of the gateway's threads, per query."""
    late_ms: float
    """How late the clients sent, 99th percentile: what they measured beyond the gateway."""


async def _ask_all(port: int, arrivals: Sequence[_Arrival]) -> tuple[list[float], list[float]]:
    """Milliseconds that each query took, and that it was sent late."""
    clients = _Clients(port)
    await clients.connect()
    start_s, tasks, late_ms = time.perf_counter(), [], []
    for arrival in arrivals:
        due_s = start_s + arrival.due_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        late_ms.append(1e3 * (time.perf_counter() - due_s))
        tasks.append(asyncio.create_task(clients.ask(arrival.request, due_s)))
    async with asyncio.timeout(_TIMEOUT_S):
        latencies_ms = await asyncio.gather(*tasks)
    clients.close()
    return latencies_ms, late_ms


def _round(gateway: Gateway, way: Way, load: Load, seed: int) -> _Round:
    port = gateway.open(way, f"{way}-{seed}")
    arrivals, before = _arrivals(load, seed), gateway.used()
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        latencies_ms, late_ms = runner.run(_ask_all(port, arrivals))
    after = gateway.used()
    gateway.shut()
    num_queries = len(arrivals)
    return _Round(
        np.array(latencies_ms)[int(_WARM_UP * num_queries) :],
        1e3 * (after.loop_s - before.loop_s) / num_queries,
        1e3 * (after.process_s - before.process_s) / num_queries,
        float(np.percentile(late_ms, 99)),
    )


def measure(folder: Path, load: Load) -> dict[str, Any]:
    """The figures, in milliseconds. Every account of the rounds with the ledger is in its database in the end."""
    gc.collect()
    gc.freeze()
    rounds: dict[Way, list[_Round]] = {way: [] for way in WAYS}
    gateway = Gateway(folder)
    try:
        for number in range(load.rounds):
            for turn in range(len(WAYS)):  # another one begins each round
                way = WAYS[(number + turn) % len(WAYS)]
                rounds[way].append(_round(gateway, way, load, number))
        num_recorded = gateway.close()
    finally:
        gateway.kill()
    assert num_recorded == 2 * load.rounds * int(load.rate * load.seconds), f"{num_recorded} accounts are stored"
    each = {way: [_figures([one]) for one in of_one] for way, of_one in rounds.items()}
    return {
        "queries_per_s": load.rate,
        "seconds": load.seconds,
        "rounds": load.rounds,
        "how": "over HTTP on 127.0.0.1: clients, a gateway under uvicorn, and the writer of a SQLite database, "
        "each in a process of its own",
        "added": {way: _added(each[way], each["off"]) for way in WAYS[1:]},
        "whole": {way: _figures(of_one) for way, of_one in rounds.items()},
        "each_round": each,
    }


def _figures(rounds: Sequence[_Round]) -> dict[str, float]:
    """Milliseconds: percentiles over the queries of all rounds, and CPU time per query."""
    p50, p99 = np.percentile(np.concatenate([one.latencies_ms for one in rounds]), (50, 99))
    figures = {
        "p50": p50,
        "p99": p99,
        "cpu": np.mean([one.cpu_ms for one in rounds]),
        "process_cpu": np.mean([one.process_cpu_ms for one in rounds]),
        "clients_late_p99": np.median([one.late_ms for one in rounds]),
    }
    return {name: round(float(figure), 3) for name, figure in figures.items()}


def _added(of_way: Sequence[dict[str, float]], off: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median over the rounds of what each added to the round beside it: one disturbed round does not count."""
    pairs = list(zip(of_way, off, strict=True))
    return {name: round(float(np.median([one[name] - other[name] for one, other in pairs])), 3) for name in off[0]}
