"""What a fit is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from serve_app.core import ConfigError
from serve_app.training.cascade.table import Key


@dataclass(frozen=True)
class FitOptions:
    """Targets and how to split. Raises ConfigError on values that make no sense."""

    alpha: float = 0.05
    """Target for the share of wrong answers among the accepted ones of a route."""
    route_alpha: Mapping[str, float] = field(default_factory=dict)
    """In place of alpha, by route."""
    delta: float = 0.1
    """Probability with which the target of a route may be missed."""
    joint: bool = False
    """Share delta out between the routes, so that all targets hold together with probability 1 - delta."""
    decide: Literal["prefix", "full"] = "prefix"
    checkpoints: tuple[int, ...] = (16, 32)
    """Not used with `decide: full`."""
    target: Literal["right", "no_worse"] = "right"
    """`no_worse`: acceptable is what scores at least as high as the large model's answer."""
    right_from: float = 0.5
    """An answer with this score or a higher one is right."""
    skip_small_above: float | None = None
    keep_small_below: float | None = None
    """Bounds of the pre-router's gain; rows beyond them are escalated or accepted unjudged."""
    model_share: float = 0.4
    """Of each route's rows, those that the acceptance model is fitted on; the threshold is set on the others."""
    seed: int = 0
    """Of the split."""
    created: str | None = None
    """Noted in the policy; ISO 8601, UTC."""

    def __post_init__(self) -> None:
        shares = {"alpha": self.alpha, "delta": self.delta, "model share": self.model_share}
        shares |= {f"alpha of route {route}": alpha for route, alpha in self.route_alpha.items()}
        for name, share in shares.items():
            if not 0 < share < 1:
                raise ConfigError(f"The {name} is {share:g}; give a share between 0 and 1.")
        points = self.checkpoints
        if any(count < 1 for count in points) or any(b <= a for a, b in pairwise(points)):
            raise ConfigError("Checkpoints are token counts that rise, such as 16 32.")
        if self.decide == "prefix" and not points:
            raise ConfigError("A decision on a prefix needs checkpoints: give one, or decide on the full answer.")

    @property
    def stages(self) -> tuple[int, ...]:
        """The checkpoints that are used."""
        return self.checkpoints if self.decide == "prefix" else ()

    def alpha_of(self, key: Key) -> float:
        """The target of a route, whatever the adapter version."""
        return self.alpha if key[0] is None else self.route_alpha.get(key[0], self.alpha)

    def delta_of(self, num_groups: int) -> float:
        """What one route may use up: all of delta, or its part (Bonferroni)."""
        return self.delta / num_groups if self.joint else self.delta
