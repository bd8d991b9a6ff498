"""From tokens to money: fills in what an answer cost and what the large model alone would have cost."""

from collections.abc import Iterable
from dataclasses import replace

from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Attempt, ConfigError, Usage
from serve_app.ledger.rates import TokenRates, token_rates

_GIVES_AN_ANSWER = ("accepted", "cancelled")


class PriceBook:
    """One price version. Immutable; pricing the same account twice gives the same account."""

    def __init__(self, prices: PricesSettings, large_model: str, models: Iterable[str] = ()) -> None:
        """`large_model` is what always-large would use; `models` are all others that may be served.

        Raises ConfigError when one of them has no price: an unknown price is not a zero price.
        """
        self.version = prices.version
        self.large_model = large_model
        self._rates = {name: token_rates(entry) for name, entry in prices.models.items()}
        for model in (large_model, *models):
            self._rates_of(model)

    def cost_nusd(self, model: str, usage: Usage) -> int:
        """Price of one attempt of `model`, in nano-dollars. Raises ConfigError for a model without a price."""
        return self._rates_of(model).cost_nusd(usage)

    def price(self, answer: Answer) -> Answer:
        """The account with its costs, `always_large_*` and `price_version` filled in.

        Every attempt is billed for the tokens it used, whatever became of it. An adapter costs what its base costs.
        A shadow is a cost of the cascade: always-large would have no use for it.
        """
        attempts = tuple(
            replace(attempt, cost_nusd=self.cost_nusd(attempt.model, attempt.usage)) for attempt in answer.attempts
        )
        always_large_nusd, measured = (0, False) if answer.outcome == "shadow" else self._always_large(attempts)
        return replace(
            answer,
            attempts=attempts,
            price_version=self.version,
            cost_nusd=sum(attempt.cost_nusd for attempt in attempts),
            always_large_nusd=always_large_nusd,
            always_large_basis="measured" if measured else "estimated",
        )

    def _always_large(self, attempts: tuple[Attempt, ...]) -> tuple[int, bool]:
        """The counterfactual over all choices, in nano-dollars, and whether all of it was measured."""
        choices: dict[int, list[Attempt]] = {}
        for attempt in attempts:
            choices.setdefault(attempt.choice_index, []).append(attempt)
        parts = [self._always_large_choice(choice) for choice in choices.values()]
        return sum(nusd for nusd, _ in parts), bool(parts) and all(measured for _, measured in parts)

    def _always_large_choice(self, attempts: list[Attempt]) -> tuple[int, bool]:
        """The large model's cost for one choice.

        It is the cost of the large model's attempt where that answered (measured), else the large price on the tokens
        of the answer given; a client that left has been given what was generated. Where nobody answered, the large
        model is charged for its own attempts only, so that failures never look like savings. The estimate counts
        tokens as the small model does, cached ones included.
        """
        given = [attempt for attempt in attempts if attempt.outcome in _GIVES_AN_ANSWER]
        if not given:
            return sum(attempt.cost_nusd for attempt in attempts if attempt.model == self.large_model), False
        last = given[-1]
        if last.model == self.large_model:
            return last.cost_nusd, last.outcome == "accepted"
        return self.cost_nusd(self.large_model, last.usage), False

    def _rates_of(self, model: str) -> TokenRates:
        try:
            return self._rates[model]
        except KeyError:
            known = ", ".join(sorted(self._rates))
            raise ConfigError(f"prices.models has no entry for {model!r} (it has {known}); add one.") from None
