"""A gateway is killed with queries in flight: who has got nothing yet is answered by another, who has is told."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import psutil
import pytest

from bench.chaos.client import Kind, ask
from bench.chaos.graph import Graph, running, write_settings
from bench.chaos.plan import eventually, settled
from bench.chaos.reconcile import is_exact, reconcile
from bench.chaos.tally import Seen, begun

pytestmark = pytest.mark.cluster

LONGEST = {"max_tokens": 1800}
WHOLE = Kind("whole", "longest", 1, more=LONGEST)
NUM_ASKED = 12
WITHIN_S = 60.0
GATEWAY_PORTS = range(30000, 31001)


def num_connections(gateway: psutil.Process) -> int:
    """From the proxy to a gateway, which listens on a port of Serve's range."""
    connections = gateway.net_connections(kind="tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port in GATEWAY_PORTS for one in connections)


def num_arrived(graph: Graph) -> int:
    return sum(map(num_connections, graph.replicas("Gateway")))


async def killed_while_they_wait(graph: Graph) -> list[Seen]:
    """Whole answers, on connections of their own; both gateways work on some when one is killed."""

    async def one(number: int) -> Seen:
        async with httpx.AsyncClient(base_url=graph.url, timeout=60) as http:
            return await ask(http, WHOLE, f"{WHOLE.word} question number {number}", 0.0)

    async def all_have_arrived() -> bool:
        return await asyncio.to_thread(num_arrived, graph) >= NUM_ASKED

    asking = [asyncio.create_task(one(number)) for number in range(NUM_ASKED)]
    await eventually(all_have_arrived, WITHIN_S, "the gateways have not got all queries")
    await asyncio.sleep(0.5)  # an answer takes eight seconds
    killed = await asyncio.to_thread(graph.kill, "Gateway", num_connections)
    seen = list(await asyncio.gather(*asking))

    async def replaced() -> bool:
        return len({replica.pid for replica in graph.replicas("Gateway")} - {killed}) == 2

    await eventually(replaced, WITHIN_S, "the gateway is not replaced")
    return seen


async def killed_while_they_read(graph: Graph) -> list[str]:
    """Streams, each past its first words when a gateway is killed; the last line that each client read."""
    asked = {"messages": [{"role": "user", "content": "longest stream"}], **LONGEST}
    body = {"model": "auto", "stream": True, **asked}
    async with httpx.AsyncClient(base_url=graph.url, timeout=60) as http:

        async def lines() -> AsyncGenerator[str]:
            async with http.stream("POST", "/v1/chat/completions", json=body) as response:
                async for line in response.aiter_lines():
                    if line:
                        yield line

        async def last(rest: AsyncGenerator[str]) -> str:
            try:
                return [line async for line in rest][-1]
            except httpx.RemoteProtocolError as error:
                return str(error)

        streams = [lines() for _ in range(NUM_ASKED)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        await asyncio.to_thread(graph.kill, "Gateway", num_connections)
        return list(await asyncio.gather(*(last(stream) for stream in streams)))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


def test_a_dead_gateway_fails_no_query_that_had_no_answer_yet(tmp_path: Path, url: str) -> None:
    with running(write_settings(tmp_path, url, num_gateways=2), tmp_path / "stderr.log") as graph:
        seen = asyncio.run(killed_while_they_wait(graph))
        report = reconcile(seen, asyncio.run(settled(url, begun(seen))))
        ends = asyncio.run(killed_while_they_read(graph))
    assert [(one.end, one.why) for one in seen] == [("finished", "")] * NUM_ASKED
    assert is_exact(report), report
    assert report["answered"] == report["rows"] == NUM_ASKED
    assert report["retried"] > 0, report
    cut = [end for end in ends if end != "data: [DONE]"]
    assert cut, "no stream was on the gateway that died"
    assert all("incomplete" in end for end in cut), "a stream that is cut off does not look like one that ended"
