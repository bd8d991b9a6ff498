"""How many flex queries may wait for their first text: as many as it came in time for.

They wait behind all others, so in an overload those that were admitted before it showed wait until their clients give
up. Hence a window, as in TCP's slow start (Jacobson, 1988): it begins with two, opens to half as many again as waited
when one came whose text was in time, and closes to half as many where one was late, with or without a text.
"""

from collections.abc import Callable
from dataclasses import dataclass

_LEAST = 2
"""With one the window would not open: half as many again is one."""
_OPENS, _CLOSES = 1.5, 0.5


@dataclass(slots=True, eq=False)
class FlexWaiting:
    """A flex query without a text. Made by `FlexWindow.admitted`."""

    window: "FlexWindow"
    started_s: float
    num_waiting: int
    """When it came, itself included."""
    is_settled: bool = False

    def first_text(self) -> None:
        """It has come. Later calls change nothing."""
        self.window.settle(self, answered=True)

    def refused(self) -> None:
        """The engine has no room for it."""
        self.window.settle(self, answered=False)

    def left(self) -> None:
        """It ended otherwise, and says nothing; unless it was late already."""
        self.window.settle(self, answered=None)


class FlexWindow:
    """The window of one gateway. For one event loop; `clock` in seconds."""

    def __init__(self, target_s: float, clock: Callable[[], float]) -> None:
        self._target_s, self._clock = target_s, clock
        self._size = float(_LEAST)

    @property
    def size(self) -> int:
        """With so many waiting no more are admitted."""
        return int(self._size)

    def admitted(self, num_waiting: int) -> FlexWaiting:
        """One begins; `num_waiting` counts it."""
        return FlexWaiting(self, self._clock(), num_waiting)

    def settle(self, query: FlexWaiting, answered: bool | None) -> None:
        """See `FlexWaiting`."""
        if query.is_settled:
            return
        query.is_settled = True
        in_time = self._clock() - query.started_s <= self._target_s
        if answered and in_time:
            self._size = max(self._size, _OPENS * query.num_waiting)
        elif answered is False or not in_time:
            self._size = max(_LEAST, min(self._size, _CLOSES * query.num_waiting))
