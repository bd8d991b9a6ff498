"""Price versions in the database, and a period at other prices."""

import pytest
from sqlalchemy import select

from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError, LedgerError
from serve_app.ledger import PriceBook
from serve_app.ledger.price_store import PriceVersions
from serve_app.ledger.reprice import reprice
from serve_app.ledger.tables import attempts, queries, repriced_queries, repricings


def prices(small: str = "0.02", large: str = "0.1", version: str = "other", **more) -> PricesSettings:
    models = {
        "small": {"input_usd_per_mtok": small, "output_usd_per_mtok": "0.0605"},
        "large": {"input_usd_per_mtok": large, "output_usd_per_mtok": "0.3"},
    }
    return PricesSettings.model_validate({"version": version, "models": models, **more})


async def test_versions_are_stored_once_and_listed(ledger, book):
    store = PriceVersions(ledger.store)
    await store.keep(book.versions)
    await store.keep(book.versions)
    (stored,) = await store.all()
    assert (stored["version"], stored["effective_from_s"], stored["digest"]) == ("test-1", 0.0, book.versions[0].digest)
    assert stored["models"]["small"]["input_usd_per_mtok"] == "0.02"


async def test_the_same_version_with_other_figures_is_an_error_that_names_the_key(ledger):
    store = PriceVersions(ledger.store)
    await store.keep(PriceBook(prices(), "large").versions)
    with pytest.raises(ConfigError, match=r"prices.version 'other' .*models\.small\.input_usd_per_mtok"):
        await store.keep(PriceBook(prices(small="0.03"), "large").versions)
    assert len(await store.all()) == 1


@pytest.fixture
async def filled(ledger, book, attempt, answer):
    """Three accounts, one outside the period of the tests, in two days; costs 2605, 17,605 and 2605."""
    cheap = answer("q1", attempt("small", "accepted", 100, 10), model="small", created_at_s=1000.0)
    dear = answer(
        "q2",
        attempt("small", "escalated", 100, 10),
        attempt("large", "accepted", 90, 20),
        model="large",
        created_at_s=90_000.0,
    )
    late = answer("q3", attempt("small", "accepted", 100, 10), model="small", created_at_s=200_000.0)
    await ledger.record([book.price(account) for account in (cheap, dear, late)])
    return ledger


async def rows(ledger, *tables):
    return [
        await ledger.store.read(lambda connection, table=table: connection.execute(select(table)).all())
        for table in tables
    ]


async def test_a_period_is_compared_and_the_accounts_stay_as_they_were(filled):
    before = await rows(filled, queries, attempts)
    found = await reprice(filled.store, PriceBook(prices(small="0.04", large="0.2"), "large"), 1000.0, 200_000.0)
    # small 100 x 40 + 605; large 90 x 200 + 20 x 300; always large 100 x 200 + 10 x 300 and 24,000
    assert (found.total.accounts, found.total.cost_nusd, found.total.always_large_nusd) == (2, 20_210, 28_000)
    assert (found.total.repriced_cost_nusd, found.total.repriced_always_large_nusd) == (4605 + 28_605, 47_000)
    assert found.models["large"].repriced_cost_nusd == 28_605
    assert found.versions == {"other": 2}
    assert await rows(filled, queries, attempts) == before
    assert await rows(filled, repricings, repriced_queries) == [[], []]


async def test_at_its_own_prices_a_period_costs_what_it_cost(filled, book):
    total = (await reprice(filled.store, book, None, None)).total
    assert (total.repriced_cost_nusd, total.repriced_always_large_nusd) == (total.cost_nusd, total.always_large_nusd)


async def test_a_saved_comparison_holds_both_figures_of_every_query(filled):
    change = {"version": "later", "effective_from": "1970-01-02", "models": {"small": {"usd_per_call": "0.000000001"}}}
    book = PriceBook(prices(changes=[change]), "large")
    found = await reprice(filled.store, book, None, 200_000.0, save=True)
    (comparison,), saved = await rows(filled, repricings, repriced_queries)
    assert (comparison.repricing_id, comparison.version) == (found.repricing_id, "other, later")
    assert [(row.day, row.query_id, row.cost_nusd, row.always_large_nusd) for row in saved] == [
        (0, "q1", 2605, 13_000),
        (1, "q2", 15_001, 15_000),
    ]


async def test_many_accounts_are_read_in_pieces(ledger, book, attempt, answer, monkeypatch):
    monkeypatch.setattr("serve_app.ledger.reprice._ACCOUNTS_AT_A_TIME", 3)
    accounts = [
        answer(f"q{index}", attempt("small", "accepted", 100, 10), created_at_s=50_000.0 * index) for index in range(10)
    ]
    await ledger.record([book.price(account) for account in accounts])
    found = await reprice(ledger.store, PriceBook(prices(), "large"), None, None, save=True)
    assert (found.total.accounts, found.total.repriced_cost_nusd) == (10, 26_050)
    (saved,) = await rows(ledger, repriced_queries)
    assert len(saved) == 10


async def test_a_model_without_another_price_is_an_error_and_leaves_nothing(filled):
    only_large = {"version": "v", "models": {"large": {"usd_per_call": "0.1"}}}
    book = PriceBook(PricesSettings.model_validate(only_large), "large")
    with pytest.raises(ConfigError, match="no entry for 'small'"):
        await reprice(filled.store, book, None, None, save=True)
    assert await rows(filled, repricings, repriced_queries) == [[], []]


async def test_a_closed_database_is_a_ledger_error(ledger, book):
    await ledger.close()
    with pytest.raises(LedgerError):
        await reprice(ledger.store, book, None, None)
    with pytest.raises(LedgerError):
        await PriceVersions(ledger.store).keep(book.versions)
