"""Clients that ask by chance at a set rate, whether or not earlier questions are answered, and keep books."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from bench.chaos.client import KINDS, Kind, ask
from bench.chaos.tally import Seen

_TIMEOUT_S = 30.0
_IDLE_S = 0.1
STAYING = tuple(kind for kind in KINDS if kind.leaves_after is None)
"""Whole answers, streams and escalations of clients that wait for the end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Times are of `time.monotonic`."""

    due_s: float
    done_s: float
    seen: Seen

    @property
    def failed(self) -> bool:
        """An error status, or an answer that broke."""
        return self.seen.end in ("refused", "broken")

    @property
    def has_begun(self) -> bool:
        """Some words of a stream had arrived."""
        return self.seen.num_words > 0


class OpenClients:
    """From `run` to `stop`. What is asked may be changed meanwhile."""

    def __init__(self, url: str, seed: int = 0) -> None:
        self._url = url
        self._chance, self._numbers = random.Random(seed), itertools.count()
        self._stop = False
        self._kinds: Sequence[Kind] = STAYING
        self._rate = 0.0
        self.asked: list[Asked] = []
        """In the order in which they ended."""

    def want(self, rate: float, kinds: Sequence[Kind] = STAYING) -> None:
        """From now on: so many a second, of these kinds by their weights."""
        self._rate, self._kinds = rate, kinds

    async def run(self) -> None:
        """Return when all requests have ended after `stop`."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT_S, limits=limits) as http,
            asyncio.TaskGroup() as requests,
        ):
            due_s = time.monotonic()
            while not self._stop:
                due_s += self._chance.expovariate(self._rate) if self._rate else _IDLE_S
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if self._rate:
                    kind = self._chance.choices(self._kinds, [kind.weight for kind in self._kinds])[0]
                    requests.create_task(self._ask(http, kind, due_s))

    def stop(self) -> None:
        """Begin no more."""
        self._stop = True

    async def _ask(self, http: httpx.AsyncClient, kind: Kind, due_s: float) -> None:
        started_s = time.perf_counter() - (time.monotonic() - due_s)
        seen = await ask(http, kind, f"{kind.word} question number {next(self._numbers)}", started_s)
        self.asked.append(Asked(due_s, time.monotonic(), seen))
