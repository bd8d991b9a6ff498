"""How a deployed guarantee is watched, and how live traffic is mirrored before a switch."""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section

BreachAction = Literal["tighten", "escalate_all", "alert"]


class WatchSettings(Section):
    """A small share of queries is run twice, in the background, to see whether the stated risk is still kept."""

    audit_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of accepted small answers whose query the large model is asked as well. Chosen by query id; "
        "0 turns the test of the risk off.",
    )
    mirror_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Above 0, shadow mode: clients get the large model's answers, and this share of the queries is "
        "also given to the small model in the background, to record what the cascade would have done.",
    )
    scorer: str = Field(
        "agreement",
        min_length=1,
        description="Scorer that compares the small answer with the large one: `agreement`, `judge`, `exact`, "
        "`normalised`, `contains`, `shell_template`, or one that you installed.",
    )
    scorer_options: dict[str, bool | int | float | str] = Field(
        default_factory=dict,
        description="Its options, such as `{by: cosine}` of `agreement`, or `url`, `model`, `key_env` and "
        "`compare: large` of `judge`.",
    )
    agree_at: float = Field(
        0.5, ge=0, le=1, description="An audited answer with a score below this counts as accepted but wrong."
    )
    alpha: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of audited answers that may count as wrong. Unset: the target of the policy, which is right "
        "where its labels came from the same scorer.",
    )
    on_breach: BreachAction = Field(
        "alert",
        description="When the test finds the risk above its target: the route's next stricter threshold, escalation of "
        "all its queries, or only the metric and the log.",
    )
    delta: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Probability that a route whose risk is within its target is ever reported as breached.",
    )
    psi_alert: float = Field(
        0.25, gt=0, description="Population stability index of a signal at which its route counts as drifting."
    )
    window: int = Field(500, ge=100, le=100_000, description="Latest decisions per route that drift is computed over.")
    max_concurrent: int = Field(
        2, ge=1, le=256, description="Audits and mirrored queries under way at once; one more is dropped and counted."
    )
    timeout_s: float = Field(
        60.0, gt=0, description="An audit or a mirrored query is given up after this many seconds."
    )
