"""What a token costs: by the number of parameters, as in the profile `large`, or by measured engine seconds."""

from __future__ import annotations

from serve_app.config import load
from serve_app.config.prices import TokenPrices
from serve_app.core import NANO_USD
from serve_app.training.cascade.simulate import Prices

SECONDS_USD = 0.08 / 3600
"""Of two busy cores, for the prices by time."""


def by_parameters(profile: str) -> Prices:
    """As in the profile `large`: the price of a token follows the number of parameters; in that ratio for the demo."""
    models = load("large").prices.models
    small, large = (
        next(entry for name, entry in models.items() if name.startswith(stem)) for stem in ("smollm2", "qwen")
    )
    assert isinstance(small, TokenPrices)
    assert isinstance(large, TokenPrices)
    scale = 1e3  # dollars a million tokens to nano-dollars a token
    share = 1.0 if profile == "large" else 494 / 1544
    return Prices(
        float(small.input_usd_per_mtok) * scale,
        float(small.output_usd_per_mtok) * scale,
        float(large.input_usd_per_mtok) * scale * share,
        float(large.output_usd_per_mtok) * scale * share,
    )


def by_time(seconds: dict[str, dict[str, float]]) -> Prices:
    """Engine seconds at one price, measured while the outcomes were collected."""
    unit = SECONDS_USD * NANO_USD
    small, large = seconds["small"], seconds["large"]
    return Prices(
        small["prompt"] * unit, small["completion"] * unit, large["prompt"] * unit, large["completion"] * unit
    )
