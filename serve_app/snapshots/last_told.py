"""What is asked for again and again, and counts as it was last told while nobody tells it."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

T = TypeVar("T")


class LastTold(ABC):
    """One thing that the ledger knows and others go by. For one event loop."""

    passing: ClassVar[tuple[type[Exception], ...]] = (Exception,)
    """Failures that leave all as it was, until the next time."""

    def __init__(
        self,
        log: logging.Logger,
        without: str,
        follow_s: float,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`without`: how it goes on without an answer, for the log. Asked every `follow_s`; `clock` in seconds."""
        self._log, self._without = log, without
        self._follow_s, self._timeout_s, self._clock = follow_s, timeout_s, clock
        self._read_at_s: float | None = None
        self.last_error: Exception | None = None
        """Why it could not be read last time; None after a success."""

    @property
    def age_s(self) -> float | None:
        """Seconds since it was read; None: never."""
        return None if self._read_at_s is None else self._clock() - self._read_at_s

    @abstractmethod
    async def refresh(self) -> None:
        """Read it now. A failure is logged once and kept in `last_error`."""

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._follow_s)

    async def _ask(self, question: Awaitable[T]) -> T | None:
        """The answer; None, too, where there was none in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await question
        except self.passing as error:
            if self.last_error is None:
                self._log.warning("%s: %s", self._without, str(error) or type(error).__name__)
            self.last_error = error
            return None
        self.last_error, self._read_at_s = None, self._clock()
        return answer

    async def _until(self, known: Callable[[], bool], within_s: float) -> None:
        """Read it before anybody goes by it; try for so long."""
        deadline_s = self._clock() + within_s
        await self.refresh()
        while not known() and self._clock() < deadline_s:
            await asyncio.sleep(self._follow_s)
            await self.refresh()
