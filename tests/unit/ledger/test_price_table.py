"""What each kind of query costs, worked out by hand.

Nano-dollars per token: small 20 / 60.5; large 100 / 300, cached 50. Flex is half of it, priority 2.5 times; the encoder
is 1,000 a call.
"""

from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Attempt, Tier, Usage
from serve_app.ledger import PriceBook
from serve_app.ledger.levers import priced


@pytest.fixture(scope="module")
def book(prices: PricesSettings) -> PriceBook:
    """The prices of all tests, and an encoder's price per call."""
    models = prices.model_dump(mode="json", exclude_none=True)["models"]
    priced_router = {"version": "v", "models": {**models, "encoder": {"usd_per_call": "0.000001"}}}
    priced_router["priority_factor"] = "2.5"
    return PriceBook(PricesSettings.model_validate(priced_router), large_model="large")


def tried(model: str, outcome: str, usage: tuple[int, int, int], role: str = "answer", choice: int = 0) -> Attempt:
    """`usage`: prompt, cached and generated tokens."""
    return Attempt(model, model, None, outcome, Usage(*usage), 1.0, choice_index=choice, role=role)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """An account and its figures, in nano-dollars."""

    attempts: list[Attempt]
    costs: list[int]
    always_large: int
    basis: str = "estimated"
    prefix: int = 0
    by_tier: int = 0
    outcome: str = "accepted"
    tier: str = "default"
    first_token_ms: float | None = None


ESCALATED = [tried("small", "escalated", (100, 0, 10)), tried("large", "accepted", (90, 40, 20))]
CASES = {
    "not streamed": Case([tried("small", "accepted", (100, 0, 10))], [2605], 13_000),
    "streamed": Case([tried("small", "accepted", (100, 0, 10))], [2605], 13_000, first_token_ms=3.0),
    "cancelled": Case([tried("small", "cancelled", (100, 0, 3))], [2182], 10_900, outcome="cancelled"),
    "cancelled before anything": Case([tried("small", "cancelled", (0, 0, 0))], [0], 0, outcome="cancelled"),
    # 50 x 100 + 40 x 50 + 20 x 300; with nothing cached 90 x 100 + 20 x 300
    "escalated": Case(ESCALATED, [2605, 13_000], 15_000, "measured", prefix=2000),
    "escalated, then cancelled": Case(
        [ESCALATED[0], tried("large", "cancelled", (90, 0, 5))], [2605, 10_500], 10_500, outcome="cancelled"
    ),
    "shadowed": Case([tried("large", "shadow", (90, 40, 20), "shadow")], [13_000], 0, outcome="shadow"),
    "shadow beside an answer": Case(
        [tried("small", "accepted", (100, 0, 10)), tried("large", "shadow", (90, 0, 20), "shadow")],
        [2605, 15_000],
        13_000,
    ),
    "ensemble with the large model": Case(
        [
            tried("small", "accepted", (100, 0, 10), "member"),
            tried("large", "accepted", (90, 0, 20), "member"),
            tried("small", "accepted", (100, 0, 12), "member"),
        ],
        [2605, 15_000, 2726],
        15_000,
        "measured",
    ),
    "ensemble of small models": Case(
        [
            tried("small", "failed", (100, 0, 4), "member"),
            tried("small", "accepted", (100, 0, 12), "member"),
        ],
        [2242, 2726],
        13_600,
    ),
    "vote whose last member was not waited for": Case(
        [
            tried("small", "accepted", (100, 0, 12), "member"),
            tried("small", "counted", (100, 0, 40), "member"),
            tried("large", "cancelled", (90, 0, 5), "member"),
        ],
        [2726, 4420, 10_500],
        13_600,
    ),
    "vote that the large model lost": Case(
        [
            tried("large", "counted", (90, 0, 20), "member"),
            tried("small", "accepted", (100, 0, 12), "member"),
        ],
        [15_000, 2726],
        15_000,
        "measured",
    ),
    "vote that was escalated": Case(
        [
            tried("small", "escalated", (100, 0, 12), "member"),
            tried("small", "escalated", (100, 0, 10), "member"),
            tried("large", "accepted", (90, 0, 20)),
        ],
        [2726, 2605, 15_000],
        15_000,
        "measured",
    ),
    "ensemble that its client left": Case(
        [
            tried("small", "cancelled", (100, 0, 12), "member"),
            tried("small", "cancelled", (100, 0, 3), "member"),
        ],
        [2726, 2182],
        10_900,
        outcome="cancelled",
    ),
    "ensemble with a combiner": Case(
        [
            tried("large", "accepted", (90, 0, 20), "member"),
            tried("small", "accepted", (100, 0, 10), "answer"),
        ],
        [15_000, 2605],
        13_000,
    ),
    # 2000 + 665.5 rounds to 2666; half of the exact 2665.5 rounds to 1333
    "flex": Case([tried("small", "accepted", (100, 0, 11))], [1333], 13_300, by_tier=1333, tier="flex"),
    "flex, cached tokens": Case(
        [tried("large", "accepted", (90, 40, 20))],
        [6500],
        15_000,
        "measured",
        prefix=2000,
        by_tier=6500,
        tier="flex",
    ),
    "priority": Case([tried("small", "accepted", (100, 0, 11))], [6664], 13_300, by_tier=-3998, tier="priority"),
    "timed out, small": Case([tried("small", "timed_out", (100, 0, 7))], [2424], 0, outcome="timed_out"),
    "timed out, large": Case([tried("large", "timed_out", (100, 0, 7))], [12_100], 12_100, outcome="timed_out"),
    "lost": Case([], [], 0, outcome="lost"),
    "failed": Case([tried("small", "failed", (100, 0, 0))], [2000], 0, outcome="failed"),
    "failed, flex, cached tokens": Case(
        [tried("large", "failed", (90, 40, 0))], [3500], 3500, outcome="failed", tier="flex"
    ),
    "routed": Case(
        [tried("encoder", "accepted", (0, 0, 0), "router"), tried("small", "accepted", (100, 0, 10))],
        [1000, 2605],
        13_000,
    ),
    "routed, flex: the router has one price": Case(
        [tried("encoder", "accepted", (0, 0, 0), "router"), tried("small", "accepted", (100, 0, 11))],
        [1000, 1333],
        13_300,
        by_tier=1333,
        tier="flex",
    ),
    "the router failed": Case(
        [tried("encoder", "failed", (0, 0, 0), "router"), tried("small", "accepted", (100, 0, 10))], [0, 2605], 13_000
    ),
    "a router without a price": Case(
        [tried("other", "accepted", (0, 0, 0), "router"), tried("small", "accepted", (100, 0, 10))], [0, 2605], 13_000
    ),
    "two choices, one failed": Case(
        [
            tried("large", "accepted", (90, 40, 20), choice=0),
            tried("large", "failed", (90, 40, 0), choice=1),
        ],
        [13_000, 7000],
        22_000,
        prefix=2000,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cost_and_always_large_are_the_figures_worked_out_by_hand(book, name):
    case = CASES[name]
    account = book.price(
        Answer(
            "q", 1000.0, "auto", case.outcome, tuple(case.attempts), tier=case.tier, first_token_ms=case.first_token_ms
        )
    )
    assert [attempt.cost_nusd for attempt in account.attempts] == case.costs
    assert account.cost_nusd == sum(case.costs)
    assert (account.always_large_nusd, account.always_large_basis) == (case.always_large, case.basis)
    levers = (account.saved_by_cache_nusd, account.saved_by_prefix_nusd, account.saved_by_tier_nusd)
    assert levers == (0, case.prefix, case.by_tier)
    assert book.price(account) == account


def from_cache(**more) -> Answer:
    looked_up = Attempt("cache", "small", None, "accepted", Usage(), 0.2)
    routed = tried("encoder", "accepted", (0, 0, 0), "router")
    return Answer("q", 1000.0, "auto", "accepted", (routed, looked_up), cache="exact", **more)


def test_an_answer_from_the_cache_saves_what_it_cost_when_it_was_generated(book):
    account = book.price(from_cache(), cached_cost_nusd=2605, cached_always_large_nusd=13_000)
    assert (account.cost_nusd, account.always_large_nusd, account.saved_by_cache_nusd) == (1000, 13_000, 2605)
    by_routing = account.always_large_nusd - account.cost_nusd - account.saved_by_cache_nusd
    assert by_routing == 13_000 - 2605 - 1000


def test_without_its_always_large_figure_a_cached_answer_saves_by_the_cache_only(book):
    account = book.price(from_cache(), cached_cost_nusd=2605)
    assert (account.always_large_nusd, account.saved_by_cache_nusd) == (2605, 2605)


def test_a_cached_answer_that_is_priced_again_keeps_its_figures(book):
    account = book.price(from_cache(), cached_cost_nusd=2605, cached_always_large_nusd=13_000)
    assert book.price(account) == account


usages = st.builds(
    lambda prompt, cached, completion: (prompt, min(prompt, cached), completion),
    *(st.integers(0, 10_000) for _ in range(3)),
)
attempts = st.lists(
    st.builds(
        tried,
        st.sampled_from(["small", "large", "local"]),
        st.sampled_from(["accepted", "counted", "escalated", "cancelled", "failed", "timed_out"]),
        usages,
        st.sampled_from(["answer", "member"]),
        st.integers(0, 2),
    ),
    max_size=6,
)


@given(attempts=attempts, tier=st.sampled_from(get_args(Tier)))
def test_what_the_levers_leave_of_the_savings_is_always_large_against_plain_prices(book, attempts, tier):
    account = book.price(Answer("q", 1000.0, "auto", "accepted", tuple(attempts), tier=tier))
    version = book.version_at(1000.0)
    answered = {one.choice_index for one in attempts if one.outcome in ("accepted", "cancelled")}
    ones = [priced(attempt, version, tier) for attempt in attempts]
    spent = sum(one.plain_nusd if one.attempt.choice_index in answered else one.attempt.cost_nusd for one in ones)
    levers = account.saved_by_prefix_nusd + account.saved_by_tier_nusd
    assert account.always_large_nusd - account.cost_nusd - levers == account.always_large_nusd - spent
    assert account.saved_by_prefix_nusd >= 0
    assert account.saved_by_tier_nusd * {"flex": 1, "default": 0, "priority": -1}[tier] >= 0
