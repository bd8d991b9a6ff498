"""The open-loop load client, against a tiny server: what it sends when, and what it says of the answers."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def load(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the bench, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))
    return lambda name: importlib.import_module(f"bench.load.{name}")


class Server:
    """Answers by the first word of the question; `held` keeps those that ask to be `held` until it is set."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.num_open = self.most_open = 0
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.num_open += 1
        self.most_open = max(self.most_open, self.num_open)
        try:
            body = await request.json()
            self.bodies.append(body)
            self.keys.append(request.headers.get("authorization"))
            word = body["messages"][0]["content"].split()[0]
            if word == "full":
                return web.json_response({"error": {"message": "full"}}, status=429, headers={"retry-after": "7"})
            if word == "broken":
                return web.json_response({"error": {"message": "broken"}}, status=500)
            if word == "held":
                await self.held.wait()
            if not body["stream"]:
                answer = {"choices": [{"message": {"content": "hi"}}], "headrace": {"query_id": "q"}}
                return web.json_response(answer if word != "strange" else {}, headers={"x-headrace-query-id": "q"})
            return await self._stream(request, word)
        finally:
            self.num_open -= 1

    async def _stream(self, request: web.Request, word: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-headrace-query-id": "q"})
        await response.prepare(request)
        for text in ("", "good", " day"):
            await response.write(_event({"choices": [{"delta": {"content": text}}]}))
        if word == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif word == "fails":
            await response.write(_event({"error": {"message": "the engine is lost"}}))
        elif word != "early":
            await response.write(_event({"choices": [], "headrace": {"query_id": "q"}}) + b"data: [DONE]\n\n")
        return response


def _event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server, app = Server(), web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def ask_once(load: Any, word: str, **about: Any) -> Any:
    async with serving() as server:
        ask = load("asks").Ask(text=lambda number: f"{word} question", **about)
        run = load("client").OpenLoop(server.url, load("arrivals").constant(100, 0.01), [ask], keep_accounts=True)
        [outcome] = (await run.run()).all
    return outcome


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_timed_and_named(load: Any, stream: bool) -> None:
    outcome = await ask_once(load, "easy", stream=stream)
    assert outcome.answered and outcome.begun and not outcome.refused and not outcome.failed
    assert (outcome.status, outcome.query_id, outcome.account) == (200, "q", {"query_id": "q"})
    moments = [outcome.intended_s, outcome.sent_s, outcome.first_byte_s, outcome.first_text_s, outcome.done_s]
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("word", "stream", "status", "fault", "begun"),
    [
        ("full", True, 429, None, False),
        ("broken", True, 500, None, False),
        ("cut", True, 200, "cut", True),
        ("fails", True, 200, "error event", True),
        ("early", True, 200, "ended early", True),
        ("strange", False, 200, "unreadable", False),
    ],
)
async def test_what_went_wrong_is_told_apart(
    load: Any, word: str, stream: bool, status: int, fault: str | None, begun: bool
) -> None:
    outcome = await ask_once(load, word, stream=stream)
    assert (outcome.status, outcome.fault, outcome.begun) == (status, fault, begun)
    assert outcome.refused == (status == 429) and outcome.failed == (status != 429)
    assert outcome.retry_after_s == (7.0 if outcome.refused else None)


async def test_a_server_that_is_not_there_is_a_connect_fault(load: Any) -> None:
    async with serving() as server:
        url = server.url
    run = load("client").OpenLoop(url, load("arrivals").constant(100, 0.01), [load("asks").Ask()])
    [outcome] = (await run.run()).all
    assert (outcome.fault, outcome.status, outcome.failed) == ("connect", None, True)


async def test_a_request_says_what_its_kind_says(load: Any) -> None:
    async with serving() as server:
        ask = load("asks").Ask("base", max_tokens=5, tier="flex", key="secret", stream=False, more={"n": 2})
        await load("client").OpenLoop(server.url, load("arrivals").constant(100, 0.01), [ask]).run()
    [body] = server.bodies
    assert (body["model"], body["max_tokens"], body["service_tier"], body["n"]) == ("base", 5, "flex", 2)
    assert server.keys == ["Bearer secret"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.001)


async def test_requests_are_sent_though_none_is_answered(load: Any) -> None:
    async with serving() as server:
        ask = load("asks").Ask(text=lambda number: "held question")
        run = load("client").OpenLoop(server.url, load("arrivals").constant(100, 0.2), [ask])
        running = asyncio.create_task(run.run())
        await until(lambda: server.num_open == 20)
        server.held.set()
        outcomes = await running
    assert all(one.answered and not one.capped for one in outcomes.all)
    assert load("summary").summarise(outcomes)["open_loop"]


async def test_a_run_that_reaches_its_cap_says_that_it_is_no_open_loop(load: Any) -> None:
    async with serving() as server:
        ask = load("asks").Ask(text=lambda number: "held question")
        run = load("client").OpenLoop(server.url, load("arrivals").constant(100, 0.05), [ask], max_open=2)
        running = asyncio.create_task(run.run())
        await until(lambda: server.num_open == 2 and any(one.capped for one in run.begun))
        server.held.set()
        outcomes = await running
    figures = load("summary").summarise(outcomes)
    assert server.most_open == 2
    assert (figures["answered"], figures["open_loop"]) == (5, False) and figures["capped"] > 0


async def test_a_request_may_not_take_longer_than_its_timeout(load: Any) -> None:
    async with serving() as server:
        ask = load("asks").Ask(text=lambda number: "held question")
        run = load("client").OpenLoop(server.url, load("arrivals").constant(100, 0.01), [ask], timeout_s=0.05)
        outcomes = await run.run()
    figures = load("summary").summarise(outcomes)
    assert (figures["faults"], figures["failed_before_first_text"]) == ({"timeout": 1}, 1)


async def test_a_run_can_be_stopped(load: Any) -> None:
    async with serving() as server:
        run = load("client").OpenLoop(server.url, load("arrivals").constant(1, 3600), [load("asks").Ask()])
        running = asyncio.create_task(run.run())
        await until(lambda: bool(run.seen))
        run.stop()
        outcomes = await running
    assert len(outcomes.all) < 3600 and outcomes.seconds < 3600


def test_latencies_count_from_the_intended_time(load: Any) -> None:
    client, summary = load("client"), load("summary")
    late = client.Outcome(
        load("asks").Ask(), 1.0, sent_s=1.5, status=200, first_byte_s=1.6, first_text_s=1.6, done_s=1.7
    )
    outcomes = client.Outcomes((late,), 2.0, 0.0)
    figures = summary.summarise(outcomes, summary.Slo(first_text_s=0.5))
    assert figures["first_text_ms"]["p50"] == pytest.approx(600)
    assert figures["sent_late_ms"]["max"] == pytest.approx(500)
    assert (figures["answered"], figures["within_slo"], figures["goodput_per_s"]) == (1, 0, 0)
    assert [row["second"] for row in figures["by_second"]] == [1]
    assert summary.summarise(outcomes, skip_s=1.5)["planned"] == 0


@given(rate=st.floats(0.5, 200), seconds=st.floats(0.5, 20), seed=st.integers(0, 9))
def test_a_schedule_is_ascending_and_repeats_with_its_seed(rate: float, seconds: float, seed: int) -> None:
    arrivals = importlib.import_module("bench.load.arrivals")
    for make in (lambda: arrivals.constant(rate, seconds), lambda: arrivals.poisson(rate, seconds, seed)):
        schedule = make()
        assert list(schedule.offsets_s) == sorted(schedule.offsets_s)
        assert schedule == make()


def test_worked_examples(load: Any) -> None:
    import doctest

    assert doctest.testmod(load("arrivals")).failed == 0


@pytest.mark.parametrize("limit", [3.0, 40.0, 170.0])
async def test_the_highest_rate_is_found(load: Any, limit: float) -> None:
    async def offer(rate: float) -> dict[str, Any]:
        return {"planned": 100, "within_slo": 100 if rate <= limit else 40, "open_loop": True}

    best, steps = await load("find").find_max(offer, 20.0)
    assert 0.94 * limit <= best <= limit
    assert len(steps) <= 20


async def test_a_server_that_sustains_nothing_has_a_highest_rate_of_zero(load: Any) -> None:
    async def offer(rate: float) -> dict[str, Any]:
        return {"planned": 100, "within_slo": 0, "open_loop": True}

    assert (await load("find").find_max(offer, 20.0))[0] == 0
