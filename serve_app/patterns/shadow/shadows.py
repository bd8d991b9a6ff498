"""Runs work in the background, a bounded amount of it, and says what became of it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from serve_app.core import HeadraceError, Overloaded

_LOG = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class Shadows:
    """For one event loop. Each piece of work ends up in exactly one of the counts; none of its errors is raised."""

    def __init__(self, max_concurrent: int, timeout_s: float) -> None:
        self.max_concurrent, self.timeout_s = max_concurrent, timeout_s
        """Both may be changed at any time; work under way keeps its timeout."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.num_finished = 0
        self.num_dropped = 0
        """Not begun because too many were under way, refused by a full engine, or offered after `close`."""
        self.num_timed_out = 0
        self.num_failed = 0
        """Raised something; the log has it."""
        self.num_cancelled = 0
        """Under way at `close`, or given up by an engine that stopped."""

    @property
    def ends(self) -> dict[str, int]:
        """How much work has ended how, by the names of the counts."""
        return {
            "finished": self.num_finished,
            "dropped": self.num_dropped,
            "timed_out": self.num_timed_out,
            "failed": self.num_failed,
            "cancelled": self.num_cancelled,
        }

    @property
    def num_running(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def submit(self, name: str, work: Work) -> bool:
        """Begin `work()` soon, on this event loop; False when it was dropped instead. Never waits, never raises.

        `name` is for the log.
        """
        if self._closed or len(self._tasks) >= self.max_concurrent:
            self.num_dropped += 1
            return False
        task = asyncio.get_running_loop().create_task(self._run(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    async def close(self) -> None:
        """Take no more work, cancel what is under way and wait until it has cleaned up. May be called again."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, work: Work) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await work()
        except TimeoutError:
            self.num_timed_out += 1
            _LOG.warning("%s was given up after %g s", name, self.timeout_s)
        except Overloaded as error:
            self.num_dropped += 1
            _LOG.info("%s was dropped: %s", name, error)
        except Exception as error:  # whatever it was: nobody waits for this, so it is counted and logged
            self.num_failed += 1
            _LOG.warning("%s failed: %s", name, error, exc_info=None if isinstance(error, HeadraceError) else error)
        else:
            self.num_finished += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.num_cancelled += task.cancelled()
