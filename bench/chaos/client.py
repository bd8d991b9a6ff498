"""Clients that ask without a pause: whole answers, streams, escalations, several choices, and streams they leave."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.chaos.tally import End, Seen, told
from bench.load.client import ID_HEADER

_PAUSE_AFTER_ERROR_S = 0.1
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to ask."""

    name: str
    word: str
    """First word of the question; see `engines`."""
    weight: int
    stream: bool = False
    leaves_after: int | None = None
    """Chunks with text after which the client goes away."""
    more: dict[str, Any] = field(default_factory=dict)


KINDS = (
    Kind("whole", "easy", 20),
    Kind("stream", "easy", 20, stream=True),
    Kind("escalated", "unsure", 10),
    Kind("escalated stream", "unsure", 10, stream=True),
    Kind("large", "easy", 8, more={"model": "large"}),
    Kind("two choices", "easy", 6, more={"n": 2}),
    Kind("slow stream", "slow", 8, stream=True),
    Kind("left stream", "slow", 12, stream=True, leaves_after=3),
    Kind("left escalation", "unsure", 6, stream=True, leaves_after=1),
)


class Clients:
    """So many at once, until told to stop. Every request is in `seen`, once it has ended."""

    def __init__(self, url: str, num_clients: int, seed: int = 0) -> None:
        self._url, self._num_clients = url, num_clients
        self._chance, self._numbers = random.Random(seed), itertools.count()
        self._stop = False
        self.seen: list[Seen] = []

    async def run(self) -> None:
        """Return when all requests have ended after `stop`."""
        await asyncio.gather(*(self._client() for _ in range(self._num_clients)))

    def stop(self) -> None:
        """Begin no more requests."""
        self._stop = True

    async def _client(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT_S) as http:
            while not self._stop:
                kind = self._chance.choices(KINDS, [kind.weight for kind in KINDS])[0]
                started_s = time.perf_counter()
                seen = await ask(http, kind, f"{kind.word} question number {next(self._numbers)}", started_s)
                self.seen.append(seen)
                if seen.end in ("refused", "broken"):
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_S)


async def ask(http: httpx.AsyncClient, kind: Kind, text: str, started_s: float) -> Seen:
    """One request; raises nothing that a server can cause."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": kind.stream, **kind.more}
    answer = _Answer(kind)
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            answer.query_id = response.headers.get(ID_HEADER)
            if response.status_code != httpx.codes.OK:
                await response.aread()
                answer.refused(response)
            elif kind.stream:
                await answer.read_stream(response)
            else:
                answer.read_whole(json.loads(await response.aread()))
    except (httpx.HTTPError, ValueError) as error:
        answer.why = f"{type(error).__name__} {error}".strip()
    return answer.seen(1e3 * (time.perf_counter() - started_s))


class _Answer:
    """What arrived so far."""

    def __init__(self, kind: Kind) -> None:
        self._kind, self._text, self.why = kind, [""], ""
        self._end: End = "broken"
        self._account: dict[str, Any] | None = None
        self.query_id: str | None = None

    def refused(self, response: httpx.Response) -> None:
        self._end, self.why = "refused", f"{response.status_code} {response.text[:200]}"

    def read_whole(self, body: dict[str, Any]) -> None:
        self._text = [choice["message"]["content"] for choice in body["choices"]]
        self._account, self._end = body["headrace"], "finished"

    async def read_stream(self, response: httpx.Response) -> None:
        """To its end, or until this client leaves."""
        num_chunks = 0
        async with aclosing(_events(response)) as events:
            async for event in events:
                if event == "[DONE]":
                    self._end = "finished"
                    return
                chunk = json.loads(event)
                if "error" in chunk:
                    self.why = chunk["error"]["message"]
                    return
                self._account = chunk.get("headrace", self._account)
                piece = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                self._text[0] += piece
                num_chunks += bool(piece)
                if num_chunks == self._kind.leaves_after:
                    self._end = "left"
                    return
        self.why = "the stream ended early"

    def seen(self, ms: float) -> Seen:
        account = self._account if self._end == "finished" else None
        return Seen(
            self._kind.name,
            self._end,
            self.query_id,
            sum(len(text.split()) for text in self._text),
            told(account) if account is not None else None,
            ms,
            self.why,
        )


async def _events(response: httpx.Response) -> AsyncGenerator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
