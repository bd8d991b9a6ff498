"""Pricing: exact, every attempt billed, and an honest counterfactual."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError, Usage
from serve_app.ledger import PriceBook

tokens = st.integers(0, 100_000)


def test_a_query_costs_the_sum_of_its_attempts_whatever_became_of_them(book, attempt, answer):
    tried = [attempt("small", outcome, 100, 10) for outcome in ("escalated", "cancelled", "failed")]
    priced = book.price(answer("q", *tried, attempt("large", "accepted", 100, 20)))
    assert [each.cost_nusd for each in priced.attempts] == [2605, 2605, 2605, 16_000]
    assert priced.cost_nusd == 3 * 2605 + 16_000
    assert priced.price_version == "test-1"


def test_half_a_nano_dollar_rounds_up(book):
    assert book.cost_nusd("small", Usage(completion_tokens=1)) == 61  # 60.5
    assert book.cost_nusd("small", Usage(completion_tokens=2)) == 121


def test_an_adapter_costs_what_its_base_costs(book, attempt, answer):
    bare, adapted = attempt("small", "accepted", 80, 30), attempt("small", "accepted", 80, 30, adapter="legal")
    assert book.price(answer("a", bare)).cost_nusd == book.price(answer("b", adapted)).cost_nusd


def test_cached_tokens_have_their_price_only_where_one_is_given(book):
    assert book.cost_nusd("large", Usage(prompt_tokens=10, cached_tokens=4)) == 6 * 100 + 4 * 50
    assert book.cost_nusd("small", Usage(prompt_tokens=10, cached_tokens=4)) == 10 * 20


def test_more_cached_than_prompt_tokens_is_no_refund(book):
    assert book.cost_nusd("large", Usage(prompt_tokens=10, cached_tokens=99)) == 10 * 50


def test_a_local_price_follows_from_replica_hours_and_speed(book):
    assert book.cost_nusd("local", Usage(prompt_tokens=900 * 3600)) == 70_000_000
    assert book.cost_nusd("local", Usage(completion_tokens=37 * 3600)) == 70_000_000


def test_always_large_is_measured_when_the_large_model_answered(book, attempt, answer):
    priced = book.price(answer("q", attempt("small", "escalated", 100, 10), attempt("large", "accepted", 90, 20)))
    assert (priced.always_large_nusd, priced.always_large_basis) == (90 * 100 + 20 * 300, "measured")
    assert priced.always_large_nusd - priced.cost_nusd == -2605  # an escalation saves nothing, and shows it


def test_always_large_is_estimated_from_the_answer_given(book, attempt, answer):
    priced = book.price(answer("q", attempt("small", "accepted", 100, 10)))
    assert (priced.always_large_nusd, priced.always_large_basis) == (100 * 100 + 10 * 300, "estimated")


def test_always_large_covers_all_choices_and_is_measured_only_if_all_are(book, attempt, answer):
    first = attempt("small", "accepted", 100, 10, choice_index=0)
    second = [
        attempt("small", "escalated", 100, 5, choice_index=1),
        attempt("large", "accepted", 90, 20, choice_index=1),
    ]
    priced = book.price(answer("q", first, *second))
    assert (priced.always_large_nusd, priced.always_large_basis) == (13_000 + 15_000, "estimated")
    assert book.price(answer("q", *second)).always_large_basis == "measured"


def test_a_cancelled_answer_is_compared_on_the_tokens_given(book, attempt, answer):
    priced = book.price(answer("q", attempt("small", "cancelled", 100, 3), outcome="cancelled"))
    assert (priced.cost_nusd, priced.always_large_nusd) == (100 * 20 + 182, 100 * 100 + 3 * 300)


def test_a_failure_never_looks_like_a_saving(book, attempt, answer):
    small = book.price(answer("q", attempt("small", "failed", 100, 0), outcome="failed"))
    assert (small.cost_nusd, small.always_large_nusd) == (2000, 0)
    both = book.price(answer("q", attempt("small", "escalated", 100, 0), attempt("large", "failed", 100, 0)))
    assert both.always_large_nusd - both.cost_nusd == -2000


def test_a_query_with_no_attempt_costs_nothing(book, answer):
    priced = book.price(answer("q", outcome="failed"))
    assert (priced.cost_nusd, priced.always_large_nusd, priced.always_large_basis) == (0, 0, "estimated")


def test_a_model_without_a_price_is_an_error_at_the_start(prices):
    with pytest.raises(ConfigError, match=r"prices.models has no entry for 'huge' \(it has large, local, small\)"):
        PriceBook(prices, large_model="huge")
    with pytest.raises(ConfigError, match="'tiny'"):
        PriceBook(prices, large_model="large", models=["small", "tiny"])


def test_pricing_twice_changes_nothing(book, attempt, answer):
    once = book.price(answer("q", attempt("local", "accepted", 101, 7)))
    assert book.price(once) == once


def test_floats_of_a_settings_file_are_taken_as_written(prices):
    written = PricesSettings(version="f", models={"m": {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.3}})
    assert PriceBook(written, "m").cost_nusd("m", Usage(10**9, 0, 10**9)) == 400 * 10**9


@given(model=st.sampled_from(["small", "large", "local"]), prompt=tokens, more=tokens, completion=tokens)
def test_price_is_monotone_and_linear_in_tokens_up_to_rounding(book, model, prompt, more, completion):
    def cost(prompt_tokens: int, completion_tokens: int) -> int:
        return book.cost_nusd(model, Usage(prompt_tokens, 0, completion_tokens))

    assert cost(prompt + more, completion) >= cost(prompt, completion)
    assert cost(prompt, completion + more) >= cost(prompt, completion)
    assert abs(cost(prompt, completion) + cost(more, 0) - cost(prompt + more, completion)) <= 1
    assert abs(cost(prompt, completion) - cost(prompt, 0) - cost(0, completion)) <= 1
    assert abs(7 * cost(prompt, completion) - cost(7 * prompt, 7 * completion)) <= 4  # 7 roundings of half a unit
