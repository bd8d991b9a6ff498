"""Clients that ask for one name without a pause, and keep every answer with the time at which it was asked for."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

ANSWER_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What one client got. Times are of the monotonic clock."""

    asked_at_s: float
    done_at_s: float
    status: int
    version: str | None
    text: str


@dataclass
class Load:
    """So many threads, each with its own conversations, on connections of their own."""

    url: str
    name: str
    num_clients: int
    seen: list[Seen] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: Sequence[threading.Thread] = ()

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.num_clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def versions_since(self, at_s: float) -> set[str | None]:
        """Of the answers to queries asked after that."""
        return {one.version for one in list(self.seen) if one.asked_at_s > at_s and one.status == httpx.codes.OK}

    def _ask(self, number: int) -> None:
        serial = 0
        while not self._done.is_set():
            serial += 1
            with httpx.Client(base_url=self.url, timeout=ANSWER_S) as client:
                self.seen.append(ask(client, self.name, f"question {number}-{serial % 20}"))


def ask(client: httpx.Client, model: str, text: str) -> Seen:
    """One whole answer."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    asked_at_s = time.monotonic()
    response = client.post("/v1/chat/completions", json=body)
    done_at_s = time.monotonic()
    if response.is_error:
        return Seen(asked_at_s, done_at_s, response.status_code, None, response.text)
    answer = response.json()
    version = answer["headrace"]["adapter_version"]
    return Seen(asked_at_s, done_at_s, response.status_code, version, answer["choices"][0]["message"]["content"])
