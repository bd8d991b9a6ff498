"""A circuit breaker: a server that keeps failing is left alone for a while, then tried with one call.

    closed ── `failures` in a row ──▶ open ── after `open_s` ──▶ half-open ── a first token ──▶ closed
                                       ▲                             │
                                       └──── failed; twice the wait ─┘

Plain logic over a clock; for one event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from serve_app.config.remote import BreakerSettings

State = Literal["closed", "open", "half_open"]


class Permit:
    """Leave to ask the server once. Say what came of it; without a word, `release` counts as neither good nor bad."""

    def __init__(self, breaker: Breaker, is_trial: bool) -> None:
        self._breaker, self._is_trial = breaker, is_trial

    def began(self) -> None:
        """The first token is there. It ends a trial well; a closed breaker waits for the end of the answer."""
        if self._is_trial:
            self._is_trial = False
            self._breaker._close()

    def succeeded(self) -> None:
        """The server answered, be it with a refusal that was the caller's fault."""
        self.began()
        self._breaker._succeeded()

    def failed(self, for_good: bool = False) -> None:
        """`for_good`: asking again soon is no use, so that one failure opens the breaker."""
        is_trial, self._is_trial = self._is_trial, False
        self._breaker._failed(is_trial, for_good)

    def release(self) -> None:
        """The call is over. A trial of which nothing is known lets another one be made."""
        if self._is_trial:
            self._is_trial = False
            self._breaker._trial_left()


class Breaker:
    """Of one server."""

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Callable[[], float] = time.monotonic,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_close` is called when a trial ended well."""
        self._settings, self._clock, self._on_close = settings, clock, on_close
        self._num_failures = 0
        """In a row, while closed."""
        self._open_until_s: float | None = None
        """None: closed."""
        self._open_s = settings.open_s
        self._on_trial = False

    @property
    def state(self) -> State:
        """Half-open: the wait is over, and no trial has ended yet."""
        if self._open_until_s is None:
            return "closed"
        return "half_open" if self._clock() >= self._open_until_s else "open"

    @property
    def rest_s(self) -> float:
        """Seconds until a trial may be made; 0 unless open."""
        return 0.0 if self._open_until_s is None else max(0.0, self._open_until_s - self._clock())

    def admit(self) -> Permit | None:
        """Leave to ask the server, or None where it is to be left alone."""
        state = self.state
        if state == "closed":
            return Permit(self, False)
        if state == "open" or self._on_trial:
            return None
        self._on_trial = True
        return Permit(self, True)

    def _close(self) -> None:
        self._num_failures, self._open_until_s, self._open_s = 0, None, self._settings.open_s
        self._on_trial = False
        self._on_close()

    def _succeeded(self) -> None:
        if self._open_until_s is None:  # else it is an answer that began before the failures
            self._num_failures = 0

    def _trial_left(self) -> None:
        self._on_trial = False

    def _failed(self, is_trial: bool, for_good: bool) -> None:
        if is_trial:
            self._on_trial = False
            self._open_s = min(2 * self._open_s, self._settings.max_open_s)
        elif self._open_until_s is not None:
            return  # a call from before it opened
        else:
            self._num_failures += 1
            if self._num_failures < self._settings.failures and not for_good:
                return
        self._open_until_s = self._clock() + self._open_s
