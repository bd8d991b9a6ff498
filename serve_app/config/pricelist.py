"""List prices of remote models, from the snapshot in the installed package `genai-prices`. Nothing is downloaded."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True, slots=True)
class ListedStep:
    """US dollars per million tokens of a prompt that is longer than `above_tokens`: then all tokens cost this."""

    above_tokens: int
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal


@dataclass(frozen=True, slots=True)
class ListedPrices:
    """What a provider charges for one model."""

    steps: tuple[ListedStep, ...]
    """By length of the prompt, the first for all (`above_tokens` -1), then ascending."""
    usd_per_call: Decimal
    source: str
    """What it was read from: the entry's own name, package and version."""


def listed(name: str, at: datetime) -> ListedPrices:
    """The figures of `provider/model` at a time. Raises ValueError when there are none that tokens alone decide.

    >>> from datetime import UTC
    >>> prices = listed("openai/gpt-4o", datetime(2026, 1, 1, tzinfo=UTC))
    >>> [(step.above_tokens, step.input_usd_per_mtok, step.output_usd_per_mtok) for step in prices.steps]
    [(-1, Decimal('2.5'), Decimal('10'))]
    """
    from genai_prices import Usage, calc_price  # a fifth of a second, for settings that have a list price only
    from genai_prices.types import TimeOfDateConstraint

    provider, _, model = name.partition("/")
    try:
        found = calc_price(Usage(), model, provider_id=provider, genai_request_timestamp=at)
    except LookupError as error:
        raise ValueError(f"genai-prices {version('genai-prices')} lists no {name!r}; give the figures here") from error
    conditions = found.model.prices if isinstance(found.model.prices, list) else []
    if any(isinstance(each.constraint, TimeOfDateConstraint) for each in conditions):
        raise ValueError(f"the list price of {name!r} depends on the time of day; give the figures here")
    prices = found.model_price
    if prices.input_mtok is None or prices.output_mtok is None:
        raise ValueError(f"the list price of {name!r} is not one per token; give the figures here")
    return ListedPrices(
        steps=_steps(prices),
        usd_per_call=_at(prices.requests_kcount, 0) / 1000 if prices.requests_kcount is not None else Decimal(0),
        source=f"{found.provider.id}/{found.model.id} of genai-prices {version('genai-prices')}",
    )


def _steps(prices: Any) -> tuple[ListedStep, ...]:
    """Every length of prompt at which any of the three figures changes."""
    cached = prices.input_mtok if prices.cache_read_mtok is None else prices.cache_read_mtok
    figures = (prices.input_mtok, prices.output_mtok, cached)
    starts = sorted({tier.start for figure in figures if not isinstance(figure, Decimal) for tier in figure.tiers})
    return tuple(ListedStep(above, *(_at(figure, above + 1) for figure in figures)) for above in (-1, *starts))


def _at(figure: Any, prompt_tokens: int) -> Decimal:
    """A figure for that length of prompt, as genai-prices steps it: from one token above the start."""
    if isinstance(figure, Decimal):
        return figure
    passed = [tier.price for tier in figure.tiers if prompt_tokens > tier.start]
    return Decimal(passed[-1] if passed else figure.base)
