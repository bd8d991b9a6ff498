"""What may stand under `prices`: a mistake names its key."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from serve_app.config.prices import PricesSettings, ReplicaPrices, TokenPrices
from serve_app.ledger.rates import token_rates

TOKENS = {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.3"}
REPLICA = {"replica_usd_per_hour": 2, "prefill_tokens_per_s": 900, "decode_tokens_per_s": 30}


@pytest.mark.parametrize(
    ("entry", "key", "kind"),
    [
        ({**TOKENS, "input_usd_per_mtok": -1}, "tokens.input_usd_per_mtok", "greater_than_equal"),
        ({**TOKENS, "output_usd_per_mtok": "nan"}, "tokens.output_usd_per_mtok", "finite_number"),
        ({"input_usd_per_mtok": 1}, "tokens.output_usd_per_mtok", "missing"),
        ({**TOKENS, "colour": "red"}, "tokens.colour", "extra_forbidden"),
        ({**TOKENS, "replica_usd_per_hour": 1}, "tokens.replica_usd_per_hour", "extra_forbidden"),
        ({**REPLICA, "decode_tokens_per_s": 0}, "replica.decode_tokens_per_s", "greater_than"),
        ({}, "replica.replica_usd_per_hour", "missing"),
    ],
)
def test_a_mistake_names_its_key_in_one_shape_only(entry, key, kind):
    with pytest.raises(ValidationError) as caught:
        PricesSettings.model_validate({"version": "v", "models": {"m": entry}})
    problems = {".".join(map(str, each["loc"])): each["type"] for each in caught.value.errors()}
    assert problems[f"models.m.{key}"] == kind
    assert len({each["loc"][2] for each in caught.value.errors()}) == 1


@pytest.mark.parametrize("prices", [{"version": "", "models": {"m": TOKENS}}, {"version": "v", "models": {}}])
def test_a_version_and_a_model_are_needed(prices):
    with pytest.raises(ValidationError):
        PricesSettings.model_validate(prices)


def test_prices_survive_json_so_that_they_can_go_through_user_config():
    prices = PricesSettings.model_validate({"version": "v", "models": {"a": TOKENS, "b": REPLICA}})
    assert PricesSettings.model_validate(prices.model_dump(mode="json")) == prices
    assert isinstance(prices.models["a"], TokenPrices)
    assert isinstance(prices.models["b"], ReplicaPrices)


def test_every_key_is_described():
    for section in (PricesSettings, TokenPrices, ReplicaPrices):
        assert all(field.description for field in section.model_fields.values())


def test_a_derived_price_is_exact_not_a_rounded_float():
    rates = token_rates(ReplicaPrices.model_validate(REPLICA))
    assert rates.prompt * 900 * 3600 == rates.completion * 30 * 3600 == 2 * 10**9 * rates.denominator
    assert token_rates(TokenPrices.model_validate(TOKENS)).denominator == 1
    assert Decimal(rates.prompt) / rates.denominator == pytest.approx(Decimal("617.28395"), abs=Decimal("1e-5"))
