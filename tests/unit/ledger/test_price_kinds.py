"""Prices per call, per busy second and from a provider's list; versions that take effect on a day."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price
from pydantic import ValidationError

from serve_app.config.prices import PricesSettings
from serve_app.core import NANO_USD, Answer, Attempt, ConfigError, Usage
from serve_app.ledger import PriceBook
from serve_app.ledger.price_version import price_versions

TOKENS = {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.3"}
DEVICE = {"device_usd_per_hour": "7.2", "fraction": "0.5", "prefill_tokens_per_s": 500, "decode_tokens_per_s": 50}
MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (3, 4))


def settings(entry: dict | None = None, **more) -> PricesSettings:
    return PricesSettings.model_validate({"version": "v1", "models": {"m": entry or TOKENS}, **more})


def costs(entry: dict, *usages: Usage) -> list[int]:
    return [PriceBook(settings(entry), "m").cost_nusd("m", usage) for usage in usages]


def test_a_call_costs_the_same_whatever_its_length():
    assert costs({"usd_per_call": "0.002"}, Usage(1, 0, 1), Usage(9000, 0, 500)) == [2_000_000, 2_000_000]


def test_a_price_per_call_comes_on_top_of_tokens():
    assert costs({**TOKENS, "usd_per_call": "0.000001"}, Usage(10, 0, 2)) == [1000 + 600 + 1000]


@pytest.mark.parametrize(
    ("outcome", "usage", "cost"), [("failed", Usage(), 0), ("failed", Usage(5), 7), ("accepted", Usage(), 7)]
)
def test_a_call_that_ended_before_it_used_anything_is_free(outcome, usage, cost):
    book = PriceBook(settings({"usd_per_call": "0.000000007"}), "m")
    account = book.price(Answer("q", 0.0, "m", outcome, (Attempt("fallback", "m", None, outcome, usage, 1.0),)))
    assert account.cost_nusd == cost


def test_a_share_of_a_device_costs_its_busy_time_to_the_nanosecond():
    # 7.2 $/h x 0.5 = 1,000,000 nano-dollars a second
    assert costs(DEVICE, Usage(500, 0, 50, busy_s=0.25), Usage(1, 0, 1, busy_s=0.000001)) == [250_000, 1]


def test_without_busy_time_a_device_is_charged_at_its_stated_speed():
    assert costs(DEVICE, Usage(500, 0, 50)) == [2_000_000]
    assert PriceBook(settings(DEVICE), "m").worst_cost_nusd("m", 500, 50) == 2_000_000


def test_cached_tokens_of_a_device_are_a_saving():
    book = PriceBook(settings(DEVICE), "m")
    attempt = Attempt("fallback", "m", None, "accepted", Usage(500, 400, 50, busy_s=1.2), 1.0)
    account = book.price(Answer("q", 0.0, "m", "accepted", (attempt,)))
    # 400 tokens at 500 tokens/s are 0.8 s
    assert (account.cost_nusd, account.saved_by_prefix_nusd, account.always_large_nusd) == (
        1_200_000,
        800_000,
        2_000_000,
    )


def test_a_replica_may_pass_the_saving_of_its_prefix_cache_on():
    entry = {"replica_usd_per_hour": "3.6", "prefill_tokens_per_s": 500, "decode_tokens_per_s": 50}
    usage = Usage(100, 50, 0)
    assert costs(entry, usage) == [200_000]
    assert costs({**entry, "cached_tokens_per_s": 5000}, usage) == [110_000]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "google/gemini-2.5-pro", "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("usage", [Usage(1000, 200, 100), Usage(200_000, 0, 7), Usage(200_001, 150_000, 3)])
def test_a_listed_model_costs_what_genai_prices_says(model, usage):
    provider, _, name = model.partition("/")
    counts = ListUsage(
        input_tokens=usage.prompt_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.completion_tokens
    )
    expected = calc_price(counts, name, provider_id=provider).total_price * NANO_USD
    assert costs({"list": model}, usage) == [int(expected.to_integral_value(rounding="ROUND_HALF_UP"))]


def test_a_figure_of_ones_own_counts_instead_of_the_listed_one():
    assert costs({"list": "openai/gpt-4o", "output_usd_per_mtok": "1"}, Usage(10, 0, 10)) == [10 * 2500 + 10 * 1000]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("openai/no-such-model", "lists no 'openai/no-such-model'"),
        ("deepseek/deepseek-chat", "depends on the time of day"),
        ("openai/whisper-1", "is not one per token"),
    ],
)
def test_a_list_price_that_tokens_do_not_decide_is_refused_with_its_key(name, reason):
    with pytest.raises(ValidationError, match=reason) as caught:
        settings({"list": name})
    assert caught.value.errors()[0]["loc"] == ("models", "m", "list")


def changing(**more) -> PricesSettings:
    later = {"version": "v2", "effective_from": "2026-03-01", "models": {"n": {"usd_per_call": 1}}}
    factors = {"flex_factor": "0.25", "priority_factor": "2"}
    last = {"version": "v3", "effective_from": "2026-04-01T02:00+02:00", **factors, **more}
    return settings(changes=[later, last], models={"m": TOKENS, "n": {"usd_per_call": "0.5"}})


@pytest.mark.parametrize(
    ("at_s", "version", "call_nusd"),
    [
        (0.0, "v1", NANO_USD // 2),
        (MARCH - 0.001, "v1", NANO_USD // 2),
        (MARCH, "v2", NANO_USD),
        (APRIL - 0.001, "v2", NANO_USD),
        (APRIL, "v3", NANO_USD),
    ],
)
def test_a_query_is_billed_at_the_version_in_force_when_it_arrived(at_s, version, call_nusd):
    book = PriceBook(changing(), "m")
    account = book.price(Answer("q", at_s, "n", "accepted", (Attempt("x", "n", None, "accepted", Usage(1), 1.0),)))
    assert (account.price_version, account.cost_nusd) == (version, call_nusd)


def test_a_change_keeps_what_it_does_not_name():
    first, second, third = price_versions(changing(replica_usd_per_hour={"router": "0.1"}))
    assert first.rates["m"] is second.rates["m"] is third.rates["m"]
    assert [each.flex_factor for each in (first, second, third)] == [Fraction(1, 2), Fraction(1, 2), Fraction(1, 4)]
    assert [each.priority_factor for each in (first, second, third)] == [1, 1, 2]
    assert (second.replica_usd("router", None), third.replica_usd("router", None)) == (None, Fraction(1, 10))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([("v1", "2026-03-01")], "version 'v1' is given twice"),
        ([("v2", "2026-04-01"), ("v3", "2026-03-01")], "'v3' takes effect at .*, not after 'v2'"),
    ],
)
def test_versions_have_names_and_an_order(changes, problem):
    with pytest.raises(ValidationError, match=problem):
        settings(changes=[{"version": version, "effective_from": day} for version, day in changes])


def test_changes_survive_json():
    assert PricesSettings.model_validate(changing().model_dump(mode="json")) == changing()


def test_the_digest_goes_by_figures_not_by_how_they_are_written():
    (one,), (same,), (other,) = (
        price_versions(settings({**TOKENS, "input_usd_per_mtok": figure}))
        for figure in ("0.1", Decimal("0.100"), "0.11")
    )
    assert one.digest == same.digest != other.digest


def test_a_version_without_a_price_for_going_first_is_what_it_was_before_there_was_one():
    (plain,), (raised,) = (price_versions(settings(TOKENS, priority_factor=factor)) for factor in (1, "1.5"))
    assert "priority_factor" not in plain.document()
    assert raised.document()["priority_factor"] == "3/2"
    assert plain.digest != raised.digest


def test_a_reservation_is_the_dearest_that_a_call_can_be():
    book = PriceBook(settings({**TOKENS, "cached_input_usd_per_mtok": "0.2"}), "m")
    worst = book.reservation("m", 100, 10, "flex")
    assert (worst.nusd, worst.tokens) == ((100 * 200 + 10 * 300) // 2, 110)
    with pytest.raises(ConfigError, match="no entry for 'other'"):
        book.reservation("other", 1, 1)
