"""When to stop asking somebody who does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.core import EngineError

_MOST_FAILURES = 5
"""In a row, each of them after all retries."""


class Patience:
    """With one server or judge: one that fails now and then is asked on, one that is gone is not."""

    def __init__(self) -> None:
        self._failures = 0
        """Since the last success."""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one request. Raises EngineError at once, asking nothing, after five failures in a row."""
        if self._failures >= _MOST_FAILURES:
            raise EngineError(f"not asked, after {self._failures} failures in a row")
        try:
            yield
        except EngineError:
            self._failures += 1
            raise
        self._failures = 0
