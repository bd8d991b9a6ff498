"""The exact price of a token, and the one place where money is rounded."""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from serve_app.config.prices import ModelPrices, ReplicaPrices
from serve_app.core import NANO_USD, Usage

_NUSD_PER_TOKEN = NANO_USD // 1_000_000
"""Nano-dollars per token at one dollar per million tokens."""


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Nano-dollars per token of one model, as integers over one `denominator`, so that products and sums are exact."""

    prompt: int
    cached: int
    completion: int
    denominator: int

    def cost_nusd(self, usage: Usage) -> int:
        """The price of one attempt: the exact sum over its tokens, rounded once, half up.

        >>> from serve_app.config.prices import TokenPrices
        >>> rates = token_rates(TokenPrices(input_usd_per_mtok="0.15", output_usd_per_mtok="0.0005"))
        >>> rates.cost_nusd(Usage(prompt_tokens=100, completion_tokens=1))      # 100 x 150 + 1 x 0.5 = 15000.5
        15001
        >>> rates.cost_nusd(Usage())
        0
        """
        cached = min(usage.cached_tokens, usage.prompt_tokens)  # a remote API's odd report must not make a refund
        exact = (
            (usage.prompt_tokens - cached) * self.prompt
            + cached * self.cached
            + usage.completion_tokens * self.completion
        )
        return (2 * exact + self.denominator) // (2 * self.denominator)


def token_rates(prices: ModelPrices) -> TokenRates:
    """The rates that an entry of the price list means.

    A replica at 3.6 $/h costs 1,000,000 nano-dollars a second; at 500 prompt tokens a second that is 2,000 a token:

    >>> token_rates(ReplicaPrices(replica_usd_per_hour="3.6", prefill_tokens_per_s=500, decode_tokens_per_s=50))
    TokenRates(prompt=2000, cached=2000, completion=20000, denominator=1)
    """
    if isinstance(prices, ReplicaPrices):
        nusd_per_s = Fraction(prices.replica_usd_per_hour) * NANO_USD / 3600
        prompt = nusd_per_s / Fraction(prices.prefill_tokens_per_s)
        # Cached tokens cost what others do: a query's price must not depend on what happened to be in the cache.
        return _over_one_denominator(prompt, prompt, nusd_per_s / Fraction(prices.decode_tokens_per_s))
    cached_usd = prices.cached_input_usd_per_mtok
    return _over_one_denominator(
        Fraction(prices.input_usd_per_mtok) * _NUSD_PER_TOKEN,
        Fraction(prices.input_usd_per_mtok if cached_usd is None else cached_usd) * _NUSD_PER_TOKEN,
        Fraction(prices.output_usd_per_mtok) * _NUSD_PER_TOKEN,
    )


def _over_one_denominator(prompt: Fraction, cached: Fraction, completion: Fraction) -> TokenRates:
    denominator = lcm(prompt.denominator, cached.denominator, completion.denominator)
    return TokenRates(int(prompt * denominator), int(cached * denominator), int(completion * denominator), denominator)
