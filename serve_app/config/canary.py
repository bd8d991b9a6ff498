"""How a canary is compared with the live version of its adapter, and what is done about it."""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section

Automatic = Literal["promote", "rollback", "both", "off"]


class CanarySettings(Section):
    """A canary is promoted when it is surely as good, and withdrawn when surely worse; docs/canary.md has the rule."""

    automatic: Automatic = Field(
        "both",
        description="What is done without being asked: `promote`, `rollback`, `both`, or `off`, where the verdict is "
        "only reported.",
    )
    share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the canary's queries that the live version and the large model answer as well, in the "
        "background, to compare quality. 0: quality is not compared, and no canary is promoted automatically.",
    )
    scorer: str | None = Field(
        None,
        min_length=1,
        description="Scorer that compares an answer with the large model's, as in `cascade.watch.scorer`. Unset: that "
        "one, with its options.",
    )
    scorer_options: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="Options of `scorer`; they count only where it is set."
    )
    margin: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="How much lower the canary's mean score (0 to 1) may be than the live version's and still count "
        "as being as good.",
    )
    alpha: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Probability that a canary worse by the margin is ever promoted, and that one within all bounds is "
        "ever withdrawn.",
    )
    min_pairs: int = Field(
        100, ge=1, description="Compared answers, and compared queries, that a promotion takes at least."
    )
    max_cost_factor: float = Field(
        1.25, ge=1, description="How many times as much a query of the canary may cost, escalations included."
    )
    max_latency_factor: float = Field(1.5, ge=1, description="How many times as long an answer of the canary may take.")
    max_error_difference: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="How much higher the canary's share of conversations with a failed attempt may be, from 0 to 1.",
    )
    max_hours: float = Field(
        72.0, gt=0, description="A canary about which nothing is decided by then counts as not good enough."
    )
    max_concurrent: int = Field(
        2, ge=1, le=256, description="Comparisons under way at once in a gateway; one more is dropped and counted."
    )
    timeout_s: float = Field(60.0, gt=0, description="A comparison is given up after this many seconds.")

    @property
    def promotes(self) -> bool:
        """Whether a promotion is automatic."""
        return self.automatic in ("promote", "both")

    @property
    def rolls_back(self) -> bool:
        """Whether a withdrawal is automatic."""
        return self.automatic in ("rollback", "both")
