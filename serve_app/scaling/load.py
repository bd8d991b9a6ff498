"""What the policy sees: one node's load, and the traffic at the gateways. Sums over replicas, as of now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """One node. All figures are >= 0."""

    replicas: int = 0
    """That answer now; those still starting are not counted."""
    arrivals_per_s: float = 0.0
    ongoing: float = 0.0
    """Calls begun and not ended, those waiting at a handle included."""
    tokens_per_s: float = 0.0
    """Work that arrives: calls a second times the tokens of a call, prompt tokens at their weight."""
    tokens_in_flight: float = 0.0
    """Work of the calls in flight, each counted whole; waiting ones included."""
    queue_delay_s: float = 0.0
    """What a call waits for its first token now, mean over replicas."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """All gateways together, over the meters' window."""

    queries_per_s: float = 0.0
    decided: float = 0.0
    """Queries that ended in the window and could have been escalated."""
    escalated: float = 0.0
    """Included in `decided`."""
