"""When a small answer is good enough. All of it can be changed at run time through `user_config`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serve_app.config.section import Section
from serve_app.config.watch import WatchSettings

SignalName = Literal["mean_probability", "min_probability", "quantile10_probability"]


class CascadeSettings(Section):
    """One rule for streamed and whole answers: accept when the signal reaches the threshold, else escalate."""

    enabled: bool = Field(True, description="Off: every query is answered by the small model alone.")
    signal: SignalName = Field(
        "mean_probability",
        description="Confidence signal over the token probabilities: geometric mean, minimum, or 10 % quantile.",
    )
    threshold: float = Field(
        0.55, ge=0, le=1, description="Escalate below this; 0 accepts all, 1 escalates nearly all."
    )
    route_thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict, description="Threshold of single routes, by router label; others use `threshold`."
    )
    decide: Literal["prefix", "full"] = Field(
        "prefix", description="Decide on the first tokens, or hold the whole small answer back until it is finished."
    )
    prefix_tokens: int = Field(
        24,
        ge=1,
        le=512,
        description="Tokens held back and judged with `decide: prefix`; a shorter answer is judged whole.",
    )

    policy: str | None = Field(
        None,
        description="File written by `headrace cascade fit`: learned acceptance with a guarantee, in the place of "
        "`signal`, `threshold`, `decide` and their kin. Unset: those count.",
    )
    unfitted: Literal["escalate", "accept"] = Field(
        "escalate", description="What `policy` does with a route or an adapter version it was not fitted for."
    )
    skip_small_above: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Ask the large model at once where the pre-router's gain is above this. Unset: never.",
    )
    keep_small_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Answer with the small model, never escalated, where the pre-router's gain is below this. "
        "Unset: never.",
    )
    when_small_fails: Literal["escalate", "fail"] = Field(
        "escalate",
        description="What a query gets whose small model failed, was full, or has too short a context, before anything "
        "was sent: the large model's answer, within the budget, or the error.",
    )
    when_large_fails: Literal["accept_small", "fail"] = Field(
        "accept_small",
        description="What a query gets whose large model failed or was full, before anything was sent: the small "
        "answer that was rejected or not tried, or the error.",
    )
    watch: WatchSettings = Field(default_factory=WatchSettings, description="Audit and drift of what was accepted.")

    @model_validator(mode="after")
    def _bounds_are_apart(self) -> Self:
        low, high = self.keep_small_below, self.skip_small_above
        if low is not None and high is not None and low > high:
            raise ValueError(f"keep_small_below {low:g} is above skip_small_above {high:g}; a query cannot be both")
        return self

    def threshold_for(self, route: str | None) -> float:
        """The threshold of a route; `None` is a query that no router saw."""
        return self.threshold if route is None else self.route_thresholds.get(route, self.threshold)
