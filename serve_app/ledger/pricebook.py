"""From tokens to money: fills in what an answer cost, what the large model alone would have cost, and what saved it."""

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Tier, Usage
from serve_app.ledger.levers import CACHE_NODE, Priced, prefix_nusd, priced, tier_nusd, tier_share, used
from serve_app.ledger.price_version import PriceVersion, price_versions

_GIVES_AN_ANSWER = ("accepted", "cancelled")
_IS_WHOLE = ("accepted", "counted")
_ANSWERS = ("answer", "member")
"""Roles whose attempts belong to a choice; the others are costs beside it."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The most that one call may use."""

    nusd: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """What one choice adds to the account, in nano-dollars."""

    always_large_nusd: int = 0
    measured: bool = False
    prefix_nusd: int = 0
    tier_nusd: int = 0


class PriceBook:
    """All price versions of the settings. Immutable; pricing the same account twice gives the same account."""

    def __init__(self, prices: PricesSettings, large_model: str, models: Iterable[str] = ()) -> None:
        """`large_model` is what always-large would use; `models` are all others that may be served.

        Raises ConfigError when one of them has no price: an unknown price is not a zero price.
        """
        self.versions = price_versions(prices)
        """Earliest first."""
        self.large_model = large_model
        self._starts_s = [version.effective_from_s for version in self.versions]
        for model in (large_model, *models):
            self.versions[0].rates_of(model)

    @property
    def version(self) -> str:
        """Name of the version that is in force now."""
        return self.version_at(None).version

    def version_at(self, at_s: float | None) -> PriceVersion:
        """The version in force at a time in seconds since the epoch; None is now."""
        index = bisect_right(self._starts_s, time.time() if at_s is None else at_s)
        return self.versions[max(0, index - 1)]

    def cost_nusd(self, model: str, usage: Usage, at_s: float | None = None) -> int:
        """Price of one attempt of `model`, in nano-dollars. Raises ConfigError for a model without a price."""
        return self.version_at(at_s).rates_of(model).cost_nusd(usage)

    def worst_cost_nusd(
        self, model: str, prompt_tokens: int, max_tokens: int, tier: Tier = "default", at_s: float | None = None
    ) -> int:
        """The most that a call of `model` can cost, in nano-dollars, for a budget to set aside before it is made.

        Raises ConfigError for a model without a price.
        """
        version = self.version_at(at_s)
        return version.rates_of(model).worst_nusd(prompt_tokens, max_tokens, tier_share(version, tier))

    def reservation(
        self, model: str, prompt_tokens: int, max_tokens: int, tier: Tier = "default", at_s: float | None = None
    ) -> Reservation:
        """Money and tokens to set aside before a call is made; `worst_cost_nusd` says what is raised."""
        nusd = self.worst_cost_nusd(model, prompt_tokens, max_tokens, tier, at_s)
        return Reservation(nusd, prompt_tokens + max_tokens)

    def price(
        self, answer: Answer, cached_cost_nusd: int | None = None, cached_always_large_nusd: int | None = None
    ) -> Answer:
        """The account with its costs, `always_large_*`, `saved_by_*` and `price_version` filled in.

        The version is the one in force when the query arrived. A shadow is a cost of the cascade: always-large would
        have no use for it, and no lever saved anything by it. Of an answer from the response cache, `cached_cost_nusd`
        is what it cost when it was generated, and `cached_always_large_nusd` what the large model alone would have
        cost then (unset: as much); without them the account keeps the figures that it came with.
        """
        version = self.version_at(answer.created_at_s)
        attempts = [priced(attempt, version, answer.tier) for attempt in answer.attempts]
        costs = replace(
            answer,
            attempts=tuple(one.attempt for one in attempts),
            price_version=version.version,
            cost_nusd=sum(one.attempt.cost_nusd for one in attempts),
        )
        if any(one.attempt.node == CACHE_NODE for one in attempts):
            return _from_cache(costs, cached_cost_nusd, cached_always_large_nusd)
        choices = [] if answer.outcome == "shadow" else self._choices(attempts, version)
        return replace(
            costs,
            always_large_nusd=sum(choice.always_large_nusd for choice in choices),
            always_large_basis="measured" if choices and all(choice.measured for choice in choices) else "estimated",
            saved_by_cache_nusd=0,
            saved_by_prefix_nusd=sum(choice.prefix_nusd for choice in choices),
            saved_by_tier_nusd=sum(choice.tier_nusd for choice in choices),
        )

    def _choices(self, attempts: Sequence[Priced], version: PriceVersion) -> list[_Choice]:
        by_index: dict[int, list[Priced]] = {}
        for one in attempts:
            if one.attempt.role in _ANSWERS:
                by_index.setdefault(one.attempt.choice_index, []).append(one)
        return [self._choice(choice, version) for choice in by_index.values()]

    def _choice(self, attempts: Sequence[Priced], version: PriceVersion) -> _Choice:
        """The large model's cost for one choice, and what the levers saved in it.

        It is the plain price of the large model's attempt where that answered (measured), else the large price on the
        tokens of the answer given, counted as the model that gave it counts them; a client that left has been given
        what was generated. Where nobody answered, the large model is charged for its own attempts only and no lever
        counts, so that failures never look like savings.
        """
        given = [one for one in attempts if one.attempt.outcome in _GIVES_AN_ANSWER]
        if not given:
            return _Choice(sum(one.attempt.cost_nusd for one in attempts if one.attempt.model == self.large_model))
        last = self._answered(attempts, given)
        levers = prefix_nusd(attempts), tier_nusd(attempts)
        if last.attempt.model == self.large_model:
            return _Choice(last.plain_nusd, last.attempt.outcome in _IS_WHOLE, *levers)
        if not used(last.attempt):
            return _Choice(0, False, *levers)
        usage = Usage(last.attempt.usage.prompt_tokens, 0, last.attempt.usage.completion_tokens)
        return _Choice(version.rates_of(self.large_model).cost_nusd(usage), False, *levers)

    def _answered(self, attempts: Sequence[Priced], given: Sequence[Priced]) -> Priced:
        """The attempt that answered; of an ensemble the large model's, if one of its members answered.

        Members that were cancelled, since the others had decided, have not.
        """
        answers = [one for one in given if one.attempt.role == "answer"]
        if answers:
            return answers[-1]
        whole = [one for one in attempts if one.attempt.outcome in _IS_WHOLE]
        of_large = next((one for one in whole if one.attempt.model == self.large_model), None)
        return of_large or ([one for one in whole if one.attempt.outcome == "accepted"] or given)[-1]


def _from_cache(answer: Answer, cost_nusd: int | None, always_large_nusd: int | None) -> Answer:
    """Of an answer that was given before; nothing else was generated for it."""
    if cost_nusd is None:
        return answer
    return replace(
        answer,
        always_large_nusd=cost_nusd if always_large_nusd is None else always_large_nusd,
        always_large_basis="estimated",
        saved_by_cache_nusd=cost_nusd,
        saved_by_prefix_nusd=0,
        saved_by_tier_nusd=0,
    )
