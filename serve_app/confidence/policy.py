"""The fitted file: acceptance models, thresholds and what is known of them, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from serve_app.confidence.model import AcceptanceModel
from serve_app.confidence.stages import Margins
from serve_app.confidence.stored import Stored, damaged, read_object, write_object
from serve_app.confidence.watch.reference import Reference
from serve_app.core import ConfigError, DataError

FORMAT = 1
_WHAT = "cascade policy"

Share = Annotated[float, Field(ge=0, le=1)]
Margin = Annotated[float, Field(ge=0)]


class EarlyStage(Stored):
    """What is known at one checkpoint."""

    model: AcceptanceModel | None
    """None: too few labelled drafts came this far, so it holds on."""
    accept_margin: Margin | None
    """Log-odds above the threshold that an early acceptance needs; None: never."""
    escalate_margin: Margin | None
    """Log-odds below the threshold that an early escalation needs; None: never."""


class RoutePolicy(Stored):
    """One route and adapter version."""

    route: str | None
    """None: queries that no router saw."""
    adapter_version: str | None
    """That the labelled answers came from, None where that was the bare base; the policy holds for no other."""
    early: tuple[EarlyStage, ...]
    """One for each checkpoint."""
    final: AcceptanceModel
    threshold: Share | None
    """Accept above it (stages.py); None: nothing can be trusted, escalate all."""
    thresholds: tuple[Share, ...]
    """The threshold as fitted and stricter ones for `tighten`, falling; only the former was tested."""
    alpha: Share | None
    """Target for the share of wrong answers among the accepted; None: the threshold was set by a budget."""
    delta: Share | None
    """Probability that the target is missed, after the division by routes in joint mode; None with alpha."""
    num_labels: int
    """Labelled rows that the threshold was set on. Disjoint from model_labels."""
    model_labels: int
    accepted_share: Share
    """Of num_labels."""
    observed_risk: Share | None
    """Share of wrong answers among the accepted of num_labels; None where none was accepted."""
    risk_bound: Share | None
    """Upper bound at level delta on the risk; None where nothing is accepted or with a budget."""
    references: dict[str, Reference] = Field(default_factory=dict)
    """Signal -> what it looked like on the labelled rows, for the watch over drift: `confidence` and some features."""
    needed_labels: int | None
    """Where refused: about how many labelled rows of this route would do; None: no number of them."""

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if any(low > high for high, low in zip(self.thresholds, self.thresholds[1:], strict=False)):
            raise ValueError("thresholds must fall")
        return self

    @property
    def margins(self) -> tuple[Margins, ...]:
        """Of each checkpoint; one without a model neither accepts nor escalates."""
        return tuple(
            Margins(stage.accept_margin, stage.escalate_margin) if stage.model else Margins(None, None)
            for stage in self.early
        )

    @property
    def name(self) -> str:
        """For people: `legal (version 1f3a)`."""
        route = "unrouted queries" if self.route is None else self.route
        return route if self.adapter_version is None else f"{route} (version {self.adapter_version})"

    def tightened(self) -> RoutePolicy:
        """With the next stricter threshold of the sequence; the strictest becomes None, which escalates all."""
        if self.threshold is None:
            return self
        stricter = [threshold for threshold in self.thresholds if threshold > self.threshold]
        return self.model_copy(update={"threshold": min(stricter, default=None)})

    def escalating(self) -> RoutePolicy:
        """With no threshold: all is escalated."""
        return self.model_copy(update={"threshold": None})


class Provenance(Stored):
    """Where a policy comes from."""

    data_sha256: str
    """Of the labelled rows as used, in their order."""
    num_rows: int
    seed: int
    joint: bool
    """True: delta was divided by the number of routes, and the targets of all hold together."""
    right_from: Share
    """With target `right`: an answer is right from this score on."""
    budget_usd: Annotated[float, Field(ge=0)] | None = None
    """Mean price of a query that the thresholds were set for; None: they keep a risk."""
    headrace: str
    """Version that fitted it."""
    created: str | None = None
    """ISO 8601, UTC."""


class CascadePolicy(Stored):
    """All routes. Each route and adapter version occurs once."""

    format: Literal[1] = 1
    decide: Literal["prefix", "full"]
    checkpoints: tuple[Annotated[int, Field(ge=1)], ...]
    """Token counts at which a draft is judged before its end, rising; none with `full`."""
    target: Literal["right", "no_worse"]
    """What counts as acceptable: a right answer, or one that is no worse than the large model's."""
    skip_small_above: Share | None = None
    keep_small_below: Share | None = None
    """The pre-router's bounds that the thresholds were set with; the guarantee holds with these and no others."""
    routes: tuple[RoutePolicy, ...]
    provenance: Provenance

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if any(low >= high for low, high in zip(self.checkpoints, self.checkpoints[1:], strict=False)):
            raise ValueError("checkpoints must rise")
        if (self.decide == "full") != (not self.checkpoints):
            raise ValueError("decide: full has no checkpoints, and decide: prefix has some")
        if any(len(route.early) != len(self.checkpoints) for route in self.routes):
            raise ValueError("each of routes needs one of early for each checkpoint")
        if len({(route.route, route.adapter_version) for route in self.routes}) < len(self.routes):
            raise ValueError("routes names a route and adapter version twice")
        return self

    @cached_property
    def _by_key(self) -> dict[tuple[str | None, str | None], RoutePolicy]:
        return {(route.route, route.adapter_version): route for route in self.routes}

    def find(self, route: str | None, adapter_version: str | None) -> RoutePolicy | None:
        """The policy of exactly this route and version, or None."""
        return self._by_key.get((route, adapter_version))

    def of_route(self, route: str | None) -> tuple[RoutePolicy, ...]:
        """Those of all adapter versions of a route."""
        return tuple(found for found in self.routes if found.route == route)

    def held(self, alpha: float | None) -> tuple[tuple[RoutePolicy, float], ...]:
        """Those that accept something and have a target, with it: `alpha` where it is set, else their own."""
        targets = ((found, alpha or found.alpha) for found in self.routes if found.threshold is not None)
        return tuple((found, target) for found, target in targets if target is not None)

    def changed(self, route: str | None, change: Callable[[RoutePolicy], RoutePolicy]) -> CascadePolicy:
        """A copy in which `change` was applied to every version of one route."""
        routes = tuple(change(found) if found.route == route else found for found in self.routes)
        return CascadePolicy(**{**dict(self), "routes": routes})  # not model_copy, which would copy the cached index


def write(policy: CascadePolicy, path: Path) -> None:
    """Store; the same policy gives the same bytes. Raises DataError when it cannot."""
    write_object(policy, path, _WHAT)


def read(path: Path) -> CascadePolicy:
    """Load and check. Raises DataError when the file is missing, damaged or of another format."""
    again = "write it again with `headrace cascade fit`"
    found = read_object(path, _WHAT, FORMAT, again)
    try:
        return CascadePolicy.model_validate(found)
    except ConfigError as error:
        raise DataError(f"{path} cannot be used ({error}).") from error
    except ValidationError as error:
        raise damaged(path, error, again) from error
