"""The price versions that the settings mean: each whole, with the time from which it counts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

from serve_app.config.prices import Deployment, DevicePrices, ListPrices, ModelPrices, PricesSettings, ReplicaPrices
from serve_app.core import ConfigError
from serve_app.ledger.rates import TokenRates, token_rates

_ALWAYS_S = 0.0


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """One set of prices. Immutable: another price is another version."""

    version: str
    effective_from_s: float
    """Seconds since the epoch; 0 is from the beginning."""
    entries: Mapping[str, ModelPrices]
    """Model name -> what the settings say, those of earlier versions included."""
    rates: Mapping[str, TokenRates]
    """Model name -> the same as integers."""
    flex_factor: Fraction
    priority_factor: Fraction
    replica_usd_per_hour: Mapping[Deployment, Fraction]

    def rates_of(self, model: str) -> TokenRates:
        """Raises ConfigError for a model without a price: an unknown price is not a zero price."""
        try:
            return self.rates[model]
        except KeyError:
            known = ", ".join(sorted(self.rates))
            raise ConfigError(f"prices.models has no entry for {model!r} (it has {known}); add one.") from None

    def replica_usd(self, deployment: Deployment, model: str | None) -> Fraction | None:
        """US dollars per hour of one replica of a deployment that runs `model`; None: nobody said.

        A price under `replica_usd_per_hour` counts, else the model's own entry where it is one of a replica.
        """
        if deployment in self.replica_usd_per_hour:
            return self.replica_usd_per_hour[deployment]
        entry = self.entries.get(model) if model else None
        if isinstance(entry, ReplicaPrices):
            return Fraction(entry.replica_usd_per_hour)
        if isinstance(entry, DevicePrices):
            return Fraction(entry.device_usd_per_hour) * Fraction(entry.fraction)
        return None

    def document(self) -> dict[str, Any]:
        """All that bills of this version follow from, for people: plain JSON values."""
        raised = {} if self.priority_factor == 1 else {"priority_factor": str(self.priority_factor)}
        return {
            "version": self.version,
            "effective_from_s": self.effective_from_s,
            "flex_factor": str(self.flex_factor),
            **raised,  # without it a version is what it was before there was the tier
            "replica_usd_per_hour": {name: str(usd) for name, usd in sorted(self.replica_usd_per_hour.items())},
            "models": {name: _shown(entry, self.rates[name]) for name, entry in sorted(self.entries.items())},
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the figures. Neither `0.10` for `0.1` nor a newer list with the same price changes it."""
        plain = self.document()
        plain["models"] = {name: _figures(rates) for name, rates in sorted(self.rates.items())}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class _Factors(NamedTuple):
    """What the tiers cost, as parts of the price."""

    flex: Fraction
    priority: Fraction


def price_versions(prices: PricesSettings) -> tuple[PriceVersion, ...]:
    """All versions of the settings, earliest first; each has what it does not change from the one before."""
    factors = _Factors(Fraction(prices.flex_factor), Fraction(prices.priority_factor))
    found = [_version(prices.version, None, prices.models, factors, prices.replica_usd_per_hour)]
    for change in prices.changes:
        before = found[-1]
        found.append(
            _version(
                change.version,
                change.effective_from,
                {**before.entries, **change.models},
                _Factors(
                    before.flex_factor if change.flex_factor is None else Fraction(change.flex_factor),
                    before.priority_factor if change.priority_factor is None else Fraction(change.priority_factor),
                ),
                {**before.replica_usd_per_hour, **change.replica_usd_per_hour},
                {name: rates for name, rates in before.rates.items() if name not in change.models},
            )
        )
    return tuple(found)


def _version(
    version: str,
    effective_from: datetime | None,
    entries: Mapping[str, ModelPrices],
    factors: _Factors,
    replica_usd_per_hour: Mapping[Deployment, Any],
    kept: Mapping[str, TokenRates] | None = None,
) -> PriceVersion:
    rates = dict(kept or {})
    for name, entry in entries.items():
        if name not in rates:
            rates[name] = _rates(name, entry, effective_from)
    return PriceVersion(
        version=version,
        effective_from_s=_ALWAYS_S if effective_from is None else effective_from.timestamp(),
        entries=dict(entries),
        rates=rates,
        flex_factor=factors.flex,
        priority_factor=factors.priority,
        replica_usd_per_hour={name: Fraction(usd) for name, usd in replica_usd_per_hour.items()},
    )


def _rates(name: str, entry: ModelPrices, at: datetime | None) -> TokenRates:
    try:
        return token_rates(entry, at)
    except ValueError as error:  # of a list price on that day
        raise ConfigError(f"prices.models.{name}: {error}.") from error


def _shown(entry: ModelPrices, rates: TokenRates) -> dict[str, Any]:
    """An entry as written, a list price with what was read from the list."""
    shown = entry.model_dump(mode="json", exclude_none=True)
    if isinstance(entry, ListPrices):
        shown["nusd_per_token"] = _figures(rates)
    return shown


def _figures(rates: TokenRates) -> dict[str, Any]:
    """The rates as reduced fractions of nano-dollars, the same for the same price however it was written."""
    own = {name: getattr(rates, name) for name in ("prompt", "cached", "completion", "call", "busy_ns")}
    exact = {name: str(Fraction(value, rates.denominator)) for name, value in own.items() if value is not None}
    return exact | {f"above_{above_tokens}": _figures(longer) for above_tokens, longer in rates.longer}
