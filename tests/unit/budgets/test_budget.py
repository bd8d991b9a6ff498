"""Which budgets apply, over which windows, and what is granted of them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.budgets.amount import Amount
from serve_app.budgets.budget import Budget, Meter, budgets_of
from serve_app.budgets.protocol import Ask, granted
from serve_app.budgets.windows import Span, span_at
from serve_app.config.budgets import MOST_TOKENS, BudgetsSettings, Limit

SETTINGS = BudgetsSettings.model_validate(
    {
        "total": [{"per": "day", "usd": "10"}, {"per": "day", "tokens": 500}, {"per": "day", "usd": "4"}],
        "each_key": [{"per": "minute", "tokens": 100}],
        "keys": {"named": [{"per": "month", "usd": "1"}], "free": []},
    }
)
OWN = (Limit(per="day", tokens=7),)


def names(spender):
    return [budget.meter.name for budget in budgets_of(SETTINGS, spender)]


def test_limits_over_the_same_window_become_one_budget_of_the_smallest():
    total = budgets_of(SETTINGS, None)[0]
    assert (total.nusd, total.tokens) == (4_000_000_000, 500)


def test_a_query_without_a_key_draws_on_a_budget_that_all_such_queries_share():
    assert names(None) == ["total/day", "keyless/minute"]


def test_a_key_without_limits_has_those_of_every_key(key):
    assert names(key("ada")) == ["total/day", "key/ada/minute"]


def test_limits_that_a_key_was_made_with_count_instead(key):
    assert names(key("ada", OWN)) == ["total/day", "key/ada/day"]


def test_an_entry_in_the_settings_counts_before_all_even_an_empty_one(key):
    assert names(key("named", OWN)) == ["total/day", "key/named/month"]
    assert names(key("free", OWN)) == ["total/day"]


@given(st.sampled_from(["minute", "day", "month"]), st.floats(0, 4_000_000_000))
def test_a_window_holds_its_moment_and_ends_where_the_next_begins(per, moment_s):
    span = span_at(per, moment_s)
    assert span.start_s <= moment_s < span.end_s
    assert span_at(per, span.end_s).start_s == span.end_s
    assert span_at(per, span.start_s) == span
    begin = datetime.fromtimestamp(span.start_s, UTC)
    assert begin.second == 0
    assert per == "minute" or begin.hour == 0
    assert per != "month" or begin.day == 1


@given(st.sampled_from(["total", "keyless"]) | st.text(min_size=1), st.sampled_from(["minute", "day", "month"]))
def test_a_meter_is_found_again_by_its_name(scope, per):
    meter = Meter(scope, None, per) if scope in ("total", "keyless") else Meter("key", scope, per)
    assert Meter.of_name(meter.name) == meter


AMOUNTS = st.builds(Amount, st.integers(0, 1000), st.integers(0, 1000))


@given(st.none() | st.integers(1, 1000), st.none() | st.integers(1, 1000), AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_grant_never_passes_the_limit_and_covers_all_that_is_lacking_or_nothing(
    nusd, tokens, held, lacking, wished, others
):
    budget = Budget(Meter("total", None, "day"), nusd, tokens)
    got = granted(Ask(budget, Span(0, 60), held, lacking, wished), others).held - held
    pairs = [(nusd, got.nusd, held.nusd + others.nusd, lacking.nusd)]
    pairs.append((tokens, got.tokens, held.tokens + others.tokens, lacking.tokens))
    for limit, more, taken, lack in pairs:
        assert more >= 0
        if limit is None or more == 0:
            assert more == 0
        else:
            assert taken + more <= limit
            assert more >= lack
    if all(limit is None or taken + lack <= limit for limit, _, taken, lack in pairs):
        assert all(limit is None or more >= lack for limit, more, _, lack in pairs)


@pytest.mark.parametrize("usd", ["0.0000000001", "0.000000001"])
def test_a_limit_of_less_than_a_nano_dollar_is_one(usd):
    settings = BudgetsSettings.model_validate({"total": [{"per": "day", "usd": usd}]})
    assert budgets_of(settings, None)[0].nusd == 1


@pytest.mark.parametrize("tokens", [MOST_TOKENS + 1, 10**23])
def test_a_limit_that_no_column_of_the_database_could_hold_is_refused(tokens):
    # the authority would fail on it, and with it every budget that the same message asks for
    assert Limit(per="day", tokens=MOST_TOKENS).tokens == MOST_TOKENS
    with pytest.raises(ValidationError):
        Limit(per="day", tokens=tokens)
