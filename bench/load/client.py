"""Sends each request at its time, whatever became of those before it, and keeps what became of each.

Latencies count from the intended time, so a client that sends late does not hide a server's stall (coordinated
omission). aiohttp, because the client shares its cores with what it measures: a stream of eight chunks cost 0.10 ms of
CPU with it and 0.86 ms with httpx, on one machine.

Bounds: the schedule's own length and count; `timeout_s` for each request from its intended time; `max_open` requests
at once. One that finds so many open waits for its turn and is counted as `capped`: the run is no open loop then.
"""

import asyncio
import itertools
import json
import selectors
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import aiohttp

from bench.load.arrivals import Schedule
from bench.load.asks import Ask, drawn

ID_HEADER = "x-headrace-query-id"
MAX_OPEN = 900
"""Below the 1024 files that a process may commonly open."""

Fault = Literal["connect", "timeout", "cut", "error event", "ended early", "unreadable"]
"""No connection; not finished in time; the connection broke; the stream said so; no [DONE]; not what was promised."""


@dataclass(slots=True)
class Outcome:
    """One request. Times are seconds after the run's start; None: it did not come to that."""

    ask: Ask
    intended_s: float
    sent_s: float | None = None
    capped: bool = False
    """It waited for one of the `max_open` places."""
    status: int | None = None
    query_id: str | None = None
    retry_after_s: float | None = None
    first_byte_s: float | None = None
    """Response headers."""
    first_text_s: float | None = None
    """Of a whole answer: its end."""
    done_s: float | None = None
    fault: Fault | None = None
    why: str = ""
    """The beginning of the error's text."""
    account: dict[str, Any] | None = None
    """The answer's `headrace` object, where accounts are kept."""
    text: str | None = None
    """Of a whole answer, where accounts are kept."""

    @property
    def answered(self) -> bool:
        """A whole answer, or a stream to its [DONE]."""
        return self.status == HTTPStatus.OK and self.fault is None

    @property
    def refused(self) -> bool:
        """429."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS

    @property
    def failed(self) -> bool:
        """Ended otherwise."""
        return self.done_s is not None and not self.answered and not self.refused

    @property
    def begun(self) -> bool:
        """Some of the answer had arrived, whatever came of it."""
        return self.status == HTTPStatus.OK and self.first_text_s is not None

    @property
    def late_s(self) -> float:
        """How late it was sent."""
        return 0.0 if self.sent_s is None else self.sent_s - self.intended_s

    def after_s(self, moment_s: float | None) -> float | None:
        """A moment, counted from the intended time."""
        return None if moment_s is None else moment_s - self.intended_s


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A run. `began_at_s` is its start in seconds since the epoch."""

    all: tuple[Outcome, ...]
    """Every request whose time came, in the order of these times."""
    seconds: float
    """Of the schedule, or until it was stopped."""
    began_at_s: float


@dataclass
class OpenLoop:
    """One run of a schedule. `url`: of the server, or of several in turn."""

    url: str | Sequence[str]
    schedule: Schedule
    asks: Sequence[Ask]
    seed: int = 0
    timeout_s: float = 30.0
    max_open: int = MAX_OPEN
    keep_accounts: bool = False
    seen: list[Outcome] = field(default_factory=list, init=False)
    """In the order in which they ended, while the run goes on."""
    begun: list[Outcome] = field(default_factory=list, init=False)
    """In the order of their times, while the run goes on."""
    _stopped: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """Send nothing more; `run` returns when what is under way has ended."""
        self._stopped.set()

    async def run(self) -> Outcomes:
        """Return when every request has ended. Raises nothing that a server can cause."""
        urls = [self.url] if isinstance(self.url, str) else list(self.url)
        targets = itertools.cycle(f"{url.rstrip('/')}/v1/chat/completions" for url in urls)
        asks = drawn(self.asks, len(self.schedule.offsets_s), self.seed)
        planned = [
            (Outcome(ask, offset_s), next(targets), ask.body(number))
            for number, (ask, offset_s) in enumerate(zip(asks, self.schedule.offsets_s, strict=True))
        ]
        places = asyncio.Semaphore(self.max_open)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            clock = asyncio.get_running_loop().time
            began_at_s, start_s = time.time(), clock()
            async with asyncio.TaskGroup() as tasks:
                for outcome, url, body in planned:
                    if await self._stopped_before(start_s + outcome.intended_s):
                        break
                    self.begun.append(outcome)
                    tasks.create_task(_Request(session, outcome, start_s, self).ask(url, body, places))
                stopped = await self._stopped_before(start_s + self.schedule.seconds)
                seconds = clock() - start_s if stopped else self.schedule.seconds
        return Outcomes(tuple(self.begun), seconds, began_at_s)

    async def _stopped_before(self, due_s: float) -> bool:
        wait_s = due_s - asyncio.get_running_loop().time()
        if wait_s <= 0 or self._stopped.is_set():
            return self._stopped.is_set()
        try:
            async with asyncio.timeout(wait_s):
                return await self._stopped.wait()
        except TimeoutError:
            return False


class _Request:
    """One request under way."""

    def __init__(self, session: aiohttp.ClientSession, outcome: Outcome, start_s: float, run: OpenLoop) -> None:
        self._session, self._outcome, self._start_s, self._run = session, outcome, start_s, run
        self._clock = asyncio.get_running_loop().time

    async def ask(self, url: str, body: bytes, places: asyncio.Semaphore) -> None:
        outcome = self._outcome
        outcome.capped = places.locked()
        headers = {"content-type": "application/json"}
        if outcome.ask.key is not None:
            headers["authorization"] = f"Bearer {outcome.ask.key}"
        try:
            async with asyncio.timeout_at(self._start_s + outcome.intended_s + self._run.timeout_s), places:
                outcome.sent_s = self._now_s()
                async with self._session.post(url, data=body, headers=headers) as response:
                    outcome.first_byte_s = self._now_s()
                    await self._read(response)
        except TimeoutError:
            self._fault("timeout", f"not finished within {self._run.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            self._fault("connect", str(error))
        except (aiohttp.ClientError, OSError) as error:
            self._fault("cut", f"{type(error).__name__} {error}")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            self._fault("unreadable", f"{type(error).__name__} {error}")
        outcome.done_s = self._now_s()
        self._run.seen.append(outcome)

    def _now_s(self) -> float:
        return self._clock() - self._start_s

    def _fault(self, fault: Fault, why: str) -> None:
        self._outcome.fault, self._outcome.why = fault, why[:200]

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        outcome = self._outcome
        outcome.status, outcome.query_id = response.status, response.headers.get(ID_HEADER)
        if response.status != HTTPStatus.OK:
            if (wait := response.headers.get("retry-after")) is not None:
                outcome.retry_after_s = float(wait)
            outcome.why = (await response.text())[:200]
        elif outcome.ask.stream:
            await self._read_stream(response)
        else:
            answer = json.loads(await response.read())
            if not isinstance(answer["choices"][0]["message"]["content"], str):
                raise ValueError("the answer has no text")
            outcome.first_text_s = self._now_s()
            self._keep(answer)
            if self._run.keep_accounts:
                outcome.text = answer["choices"][0]["message"]["content"]

    async def _read_stream(self, response: aiohttp.ClientResponse) -> None:
        """To its end. Chunks are decoded only until the first text, and where they may be an error or the account."""
        outcome = self._outcome
        async with aclosing(events(response)) as chunks:
            async for event in chunks:
                if event == b"[DONE]":
                    return
                if outcome.first_text_s is not None and b'"error"' not in event and b'"headrace"' not in event:
                    continue
                chunk = json.loads(event)
                if "error" in chunk:
                    self._fault("error event", str(chunk["error"].get("message")))
                    return
                if outcome.first_text_s is None and any(one["delta"].get("content") for one in chunk["choices"]):
                    outcome.first_text_s = self._now_s()
                self._keep(chunk)
        self._fault("ended early", "the stream ended without [DONE]")

    def _keep(self, body: dict[str, Any]) -> None:
        if self._run.keep_accounts:
            self._outcome.account = body.get("headrace", self._outcome.account)


async def events(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """The data of server-sent events, one line each."""
    async for line in response.content:
        if line.startswith(b"data: "):
            yield line.removeprefix(b"data: ").strip()


def counted(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of each fault, or of each HTTP status that is neither 200 nor 429."""
    return dict(Counter(one.fault or f"HTTP {one.status}" for one in outcomes if one.failed).most_common())


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are not rounded up to whole milliseconds, as those of `epoll` are; few connections."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())
