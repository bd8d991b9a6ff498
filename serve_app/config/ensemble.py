"""Several answers in the place of one, and how they become one."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from serve_app.config.nodes import ADAPTER_NAME
from serve_app.config.section import Section
from serve_app.core import RESERVED_MODELS

Strategy = Literal["vote", "weighted_vote", "best_of_n", "average", "soft_routing"]
Normaliser = Literal["text", "first_line", "number", "choice"]
_IN_LOCK_STEP = ("average", "soft_routing")
"""Strategies with one answer that all members write together: there is nothing to compare."""


class MemberSettings(Section):
    """One kind of answer: a model, and how often it is asked."""

    model: str = Field(description="An adapter's name, `base`, or `large`.")
    samples: int = Field(1, ge=1, le=32, description="Answers of this member; more than one need a temperature.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="Of its answers; unset: the query's own, else the model's default."
    )
    weight: float = Field(1.0, ge=1e-6, le=1e6, description="Of its answers in a weighted vote, or in the average.")

    @field_validator("model")
    @classmethod
    def _can_exist(cls, model: str) -> str:
        """An adapter may be added to the running graph later (docs/adapters.md); until then it is left out."""
        if model not in ("base", "large") and (model in RESERVED_MODELS or not ADAPTER_NAME.fullmatch(model)):
            raise ValueError("it can be no adapter's name; name an adapter, `base` or `large`")
        return model

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError(f"{self.samples} samples need a temperature above 0 to differ; set it, or ask for one")
        return self


class EnsembleSettings(Section):
    """The model `ensemble`, which is there where it has members."""

    members: tuple[MemberSettings, ...] = Field(
        (), description="Who answers. None: there is no model `ensemble`, unless the strategy is `soft_routing`."
    )
    strategy: Strategy = Field(
        "vote",
        description="`vote`: most equal answers; `weighted_vote`: by confidence and weight; `best_of_n`: the one with "
        "the best confidence; `average`: one answer, each token drawn from the weighted mean of the members' "
        "log-probabilities, all on the small base; `soft_routing`: the same, over the adapters of the routes, weighted "
        "by the router's probabilities.",
    )
    normalise: Normaliser = Field(
        "text",
        description="What of two answers has to be equal: the text without case, blanks and punctuation, its first "
        "line, its last number, or the letter of a choice.",
    )
    scorer: str | None = Field(
        None,
        description="For `best_of_n`: a function `package.module:function` of question and answer that says how good "
        "the answer is, from 0 to 1. Unset: what the cascade's policy says, or else the mean token probability.",
    )
    quorum: int = Field(1, ge=1, description="Fewest answers that there must be; other members may fail or be late.")
    deadline_s: float | None = Field(
        None, gt=0, description="Seconds after which members that have not answered count as late. Unset: none is."
    )
    early_stop: bool = Field(True, description="Stop the other members as soon as they cannot change the vote.")
    escalate_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the vote, or confidence of the best answer, below which the large model answers in its "
        "place, within the budget. Unset: it never does.",
    )
    least_weight: float = Field(
        0.1,
        ge=1e-9,
        le=1,
        description="For `soft_routing`: adapters whose routes have less probability than this take no part.",
    )
    routes: tuple[str, ...] = Field((), description="Router labels that the ensemble answers under `auto`.")

    @property
    def enabled(self) -> bool:
        """Whether there is a model `ensemble`."""
        return bool(self.members) or self.strategy == "soft_routing"

    @property
    def in_lock_step(self) -> bool:
        """Whether all members write one answer together."""
        return self.strategy in _IN_LOCK_STEP

    def most_members(self, num_adapters: int) -> int:
        """Of `soft_routing`: how many of these can have `least_weight` at once, and one at least.

        >>> EnsembleSettings(strategy="soft_routing", least_weight=0.3).most_members(8)
        3
        """
        return max(1, min(num_adapters, int(1 / self.least_weight)))

    @property
    def num_answers(self) -> int:
        """Of the members together."""
        return sum(member.samples for member in self.members)

    @model_validator(mode="after")
    def _quorum_can_be_reached(self) -> Self:
        if self.members and self.quorum > self.num_answers:
            raise ValueError(f"quorum {self.quorum} is more than the members' {self.num_answers} answers; lower it")
        if self.routes and not self.enabled:
            raise ValueError("routes name what an ensemble answers, and there are no members; add some")
        return self

    @model_validator(mode="after")
    def _strategy_uses_what_is_set(self) -> Self:
        if self.scorer is not None and self.strategy != "best_of_n":
            raise ValueError(f"scorer is for `best_of_n`, and the strategy is `{self.strategy}`; leave it out")
        if not self.in_lock_step:
            return self
        for key in ("deadline_s", "escalate_below"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} needs answers to compare, and `{self.strategy}` has one; leave it out")
        if self.strategy == "soft_routing" and self.members:
            raise ValueError("`soft_routing` takes the adapters of `routes`, not members; leave members out")
        if self.strategy == "soft_routing" and self.quorum > 1:
            raise ValueError("quorum: one adapter answers alone where the router is sure; leave it at 1")
        for index, member in enumerate(self.members):
            if member.model == "large":
                raise ValueError(
                    f"members[{index}].model: the large model shares no step with the small base; remove it"
                )
            if member.samples > 1 or member.temperature is not None:
                raise ValueError(
                    f"members[{index}]: in the average all draw the same token, at the query's temperature; leave "
                    "samples and temperature out, and give the member a weight"
                )
        return self
