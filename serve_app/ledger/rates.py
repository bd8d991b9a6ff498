"""The exact price of a token, a call or a busy second, and the one place where money is rounded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import lcm

from serve_app.config.prices import CallPrices, DevicePrices, ListPrices, ModelPrices, ReplicaPrices, TokenPrices
from serve_app.core import NANO_USD, Usage
from serve_app.ledger.times import NS_PER_S

_NUSD_PER_TOKEN = NANO_USD // 1_000_000
"""Nano-dollars per token at one dollar per million tokens."""
WHOLE = Fraction(1)


def half_up(numerator: int, denominator: int) -> int:
    """The nearest whole number; half a nano-dollar counts as one.

    >>> half_up(5, 2), half_up(-5, 2), half_up(7, 3)
    (3, -2, 2)
    """
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Nano-dollars of one model, as integers over one `denominator`, so that products and sums are exact."""

    prompt: int
    """Per prompt token, like the next two."""
    cached: int
    completion: int
    denominator: int
    call: int = 0
    """Per call."""
    busy_ns: int | None = None
    """Per nanosecond of busy time, where there is any: then tokens cost nothing."""
    longer: "tuple[tuple[int, TokenRates], ...]" = ()
    """(tokens, rates): the last whose tokens a prompt exceeds are its rates. Ascending."""

    def cost_nusd(self, usage: Usage, share: Fraction = WHOLE) -> int:
        """The price of one attempt times `share`: the exact sum over its tokens, rounded once, half up.

        >>> rates = token_rates(TokenPrices(input_usd_per_mtok="0.15", output_usd_per_mtok="0.0005"))
        >>> rates.cost_nusd(Usage(prompt_tokens=100, completion_tokens=1))      # 100 x 150 + 1 x 0.5 = 15000.5
        15001
        >>> rates.cost_nusd(Usage(prompt_tokens=100), Fraction(1, 2)), rates.cost_nusd(Usage())
        (7500, 0)
        """
        rates = self.at_length(usage.prompt_tokens)
        return half_up(rates._exact(usage) * share.numerator, rates.denominator * share.denominator)

    def uncached_nusd(self, usage: Usage) -> int:
        """`cost_nusd` if no prompt token had been cached.

        >>> rates = TokenRates(prompt=100, cached=50, completion=300, denominator=1)
        >>> rates.cost_nusd(Usage(prompt_tokens=10, cached_tokens=4)), rates.uncached_nusd(Usage(10, 4))
        (800, 1000)
        """
        rates = self.at_length(usage.prompt_tokens)
        return half_up(rates._exact(usage) + _cached(usage) * (rates.prompt - rates.cached), rates.denominator)

    def worst_nusd(self, prompt_tokens: int, max_tokens: int, share: Fraction = WHOLE) -> int:
        """The most that so many tokens can cost. With a price by the second it is what they cost at the stated speed.

        >>> TokenRates(prompt=100, cached=50, completion=300, denominator=1, call=7).worst_nusd(10, 4)
        2207
        """
        rates = self.at_length(prompt_tokens)
        exact = prompt_tokens * max(rates.prompt, rates.cached) + max_tokens * rates.completion + rates.call
        return half_up(exact * share.numerator, rates.denominator * share.denominator)

    def at_length(self, prompt_tokens: int) -> "TokenRates":
        """The rates for a prompt of that length."""
        for above_tokens, rates in reversed(self.longer):
            if prompt_tokens > above_tokens:
                return rates
        return self

    def _exact(self, usage: Usage) -> int:
        """Nano-dollars x denominator."""
        if self.busy_ns is not None and usage.busy_s > 0:
            return self.call + round(usage.busy_s * NS_PER_S) * self.busy_ns
        cached = _cached(usage)
        return (
            self.call
            + (usage.prompt_tokens - cached) * self.prompt
            + cached * self.cached
            + usage.completion_tokens * self.completion
        )


def token_rates(prices: ModelPrices, at: datetime | None = None) -> TokenRates:
    """The rates that an entry of the price list means; a provider's list price is that of the time `at`, else of now.

    A replica at 3.6 $/h costs 1,000,000 nano-dollars a second; at 500 prompt tokens a second that is 2,000 a token:

    >>> token_rates(ReplicaPrices(replica_usd_per_hour="3.6", prefill_tokens_per_s=500, decode_tokens_per_s=50))
    TokenRates(prompt=2000, cached=2000, completion=20000, denominator=1, call=0, busy_ns=None, longer=())

    Half of a device at 7.2 $/h costs the same, by the nanosecond a thousandth of a nano-dollar:

    >>> half = DevicePrices(
    ...     device_usd_per_hour="7.2", fraction="0.5", prefill_tokens_per_s=500, decode_tokens_per_s=50
    ... )
    >>> rates = token_rates(half)
    >>> rates.cost_nusd(Usage(500, 0, 50, busy_s=1.5)), rates.cost_nusd(Usage(500, 0, 50))
    (1500000, 2000000)
    """
    call = Fraction(prices.usd_per_call) * NANO_USD
    if isinstance(prices, CallPrices):
        return _over_one_denominator(Fraction(0), Fraction(0), Fraction(0), call)
    if isinstance(prices, ReplicaPrices):
        per_s = Fraction(prices.replica_usd_per_hour) * NANO_USD / 3600
        prompt = per_s / Fraction(prices.prefill_tokens_per_s)
        cached = per_s / Fraction(prices.cached_tokens_per_s) if prices.cached_tokens_per_s else prompt
        return _over_one_denominator(prompt, cached, per_s / Fraction(prices.decode_tokens_per_s), call)
    if isinstance(prices, DevicePrices):
        per_s = Fraction(prices.device_usd_per_hour) * Fraction(prices.fraction) * NANO_USD / 3600
        prompt = per_s / Fraction(prices.prefill_tokens_per_s)
        completion = per_s / Fraction(prices.decode_tokens_per_s)
        # A cached token takes next to no time: without busy time it is free, and without the cache it costs `prompt`.
        return _over_one_denominator(prompt, Fraction(0), completion, call, per_s / NS_PER_S)
    if isinstance(prices, ListPrices):
        return _listed(prices, datetime.now(UTC) if at is None else at)
    return _tokens(prices, call)


def _tokens(prices: TokenPrices, call: Fraction) -> TokenRates:
    cached_usd = prices.cached_input_usd_per_mtok
    return _over_one_denominator(
        Fraction(prices.input_usd_per_mtok) * _NUSD_PER_TOKEN,
        Fraction(prices.input_usd_per_mtok if cached_usd is None else cached_usd) * _NUSD_PER_TOKEN,
        Fraction(prices.output_usd_per_mtok) * _NUSD_PER_TOKEN,
        call,
    )


def _listed(prices: ListPrices, at: datetime) -> TokenRates:
    """Each length of prompt that has a price of its own; the figures of the entry count for all lengths."""
    found = prices.figures(at)
    call = Fraction(prices.usd_per_call or found.usd_per_call) * NANO_USD
    given = prices.model_dump(include={"input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok"})
    steps: list[tuple[int, TokenRates]] = []
    for step in found.steps:
        figures = {name: getattr(step, name) if value is None else value for name, value in given.items()}
        steps.append((step.above_tokens, _tokens(TokenPrices(**figures), call)))
    first = steps[0][1]
    longer = tuple(step for step in steps[1:] if step[1] != first)
    return TokenRates(first.prompt, first.cached, first.completion, first.denominator, first.call, longer=longer)


def _over_one_denominator(
    prompt: Fraction, cached: Fraction, completion: Fraction, call: Fraction, busy_ns: Fraction | None = None
) -> TokenRates:
    rates = (prompt, cached, completion, call, busy_ns or Fraction(0))
    over = lcm(*(rate.denominator for rate in rates))
    busy = None if busy_ns is None else int(busy_ns * over)
    return TokenRates(int(prompt * over), int(cached * over), int(completion * over), over, int(call * over), busy)


def _cached(usage: Usage) -> int:
    """A remote API's odd report must not make a refund."""
    return min(usage.cached_tokens, usage.prompt_tokens)
