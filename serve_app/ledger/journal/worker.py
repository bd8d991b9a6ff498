"""A thread for what may wait for the disk."""

import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

_LOG = logging.getLogger(__name__)


class Worker:
    """Does what it is given, in order, in a thread of its own. Nobody can wait for a result.

    An executor makes a future, with a lock and a condition, for each piece of work: more than the rest of a sync costs.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)  # what is left at the end is as after a kill
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Do it after all that was given before. Raises RuntimeError after `shutdown`."""
        if self._closed:
            raise RuntimeError(f"the thread {self._thread.name} has ended")
        self._work.put(work)

    def shutdown(self) -> None:
        """Wait until all is done; may be called again."""
        self._closed = True
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # a bug: what comes after it is done all the same
                _LOG.exception("Work on the journal failed.")
            del work  # so that what it holds is free while nothing is to be done
