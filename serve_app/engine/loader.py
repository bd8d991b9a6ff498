"""Loads adapters off the engine's thread, so that no step waits for a disk. No torch: the work is in a callable."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from serve_app.core import AdapterError, HeadraceError

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 30.0
_NICER = 5
"""Added to the thread's niceness. It then takes a quarter of a busy core and not half: a load takes twice as long, and
steps meanwhile up to half as long again in place of two to five times as long."""


class AdapterLoader:
    """One daemon thread that loads one adapter at a time, in the order of the requests.

    `load(slot, version)` reads an adapter and writes it into an adapter slot; it raises HeadraceError where it cannot.
    Each request is answered by one call of `loaded(slot, version)` or `failed(slot, version, error)`, from the thread
    and without a lock of this class; those dropped by `close` are not answered.
    """

    def __init__(
        self,
        load: Callable[[int, str], None],
        loaded: Callable[[int, str], None],
        failed: Callable[[int, str, HeadraceError], None],
    ) -> None:
        self._load = load
        self._loaded = loaded
        self._failed = failed
        self._jobs: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        """None ends the thread."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headrace-adapters", daemon=True)
        self._thread.start()

    def request(self, slot: int, version: str) -> None:
        """Queue a load and return at once. Ignored once closed: the engine then fails what waits for it."""
        self._jobs.put((slot, version))

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Drop what is queued and wait for the load in progress, for `timeout_s` at most. May be called twice.

        Hold no lock that `loaded` or `failed` take.
        """
        self._closed.set()
        self._jobs.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _log.warning("an adapter is still loading after %g s; it is left behind", timeout_s)

    def _run(self) -> None:
        _give_way()
        while (job := self._jobs.get()) is not None and not self._closed.is_set():
            try:
                self._answer(*job)
            except Exception:  # a fault of the receiver: the next adapters must still load
                _log.exception("the end of the load of adapter %s could not be reported", job[1])

    def _answer(self, slot: int, version: str) -> None:
        try:
            self._load(slot, version)
        except HeadraceError as error:
            _log.warning("adapter %s was not loaded: %s", version, error)
            self._failed(slot, version, error)
        except Exception as error:  # whatever torch or the disk raises: those who wait must hear of it
            _log.exception("loading adapter %s failed", version)
            self._failed(slot, version, AdapterError(f"adapter {version} cannot be loaded: {error!r}; add it again"))
        else:
            self._loaded(slot, version)


def _give_way() -> None:
    """Lower this thread's share of the cores, where a thread has one of its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # not allowed here: it then keeps its share
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER)
