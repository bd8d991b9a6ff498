"""How long a cold node still takes, learnt from its own starts, and what the cascade does meanwhile."""

from dataclasses import dataclass, replace
from typing import Literal

from serve_app.config.scaling import ColdPolicy

_LEARN = 0.3
"""Weight of the newest start."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """State of one node. `expected_s`: from asking for a first replica until it answers."""

    expected_s: float = 60.0
    asked_at_s: float | None = None
    """When a first replica was asked for; None: none is awaited."""

    def seen(self, replicas: int, target: int, now_s: float) -> "WarmUp":
        """The next state, given how many replicas answer and how many are wanted.

        >>> cold = WarmUp(expected_s=60).seen(replicas=0, target=1, now_s=100)
        >>> cold.remaining_s(130)
        30
        >>> cold.seen(replicas=1, target=1, now_s=190).expected_s       # took 90: 0.7 x 60 + 0.3 x 90
        69.0
        """
        if replicas > 0:
            if self.asked_at_s is None:
                return self
            took_s = max(0.0, now_s - self.asked_at_s)
            return WarmUp((1 - _LEARN) * self.expected_s + _LEARN * took_s)
        if target == 0:
            return replace(self, asked_at_s=None)
        return self if self.asked_at_s is not None else replace(self, asked_at_s=now_s)

    def remaining_s(self, now_s: float) -> float:
        """Seconds until the first replica should answer; all of `expected_s` where none was asked for.

        A start that is late, as where no machine is to be had, is taken to need as long again as it is late: else it
        would be about to answer for ever.

        >>> WarmUp(expected_s=60, asked_at_s=100).remaining_s(200)      # due at 160
        40
        """
        waited_s = 0.0 if self.asked_at_s is None else max(0.0, now_s - self.asked_at_s)
        return abs(self.expected_s - waited_s)


def while_cold(policy: ColdPolicy, remaining_s: float, patience_s: float) -> Literal["accept_small", "wait"]:
    """What to do with one query that the rule would escalate to a node without a replica.

    >>> while_cold("wait_if_soon", remaining_s=4, patience_s=10), while_cold("wait_if_soon", 40, 10)
    ('wait', 'accept_small')
    """
    if policy == "wait_if_soon":
        return "wait" if remaining_s <= patience_s else "accept_small"
    return policy
