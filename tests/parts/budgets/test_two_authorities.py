"""Two authorities on one database, each with connections of its own."""

import asyncio

from sqlalchemy import select

from serve_app.budgets import BudgetAuthority, BudgetBook
from serve_app.budgets.tables import budget_grants
from serve_app.config.budgets import BudgetsSettings
from serve_app.store import Store
from tests.unit.budgets.conftest import nano

__all__ = ["nano"]


async def ten_of_a_hundred(url, nano):
    """A hundred queries at once, over three gateways and two authorities with a connection each."""
    stores = [Store(url), Store(url)]
    settings = BudgetsSettings.model_validate({"total": [{"per": "month", "usd": nano(1000)}]})
    try:
        for store in stores:
            await store.open()
        books = [
            BudgetBook(BudgetAuthority(stores[index % 2]), settings, f"g{index}", timeout_s=60) for index in range(3)
        ]
        calls = (books[index % 3].reserve(f"q{index}", None, 100, 7) for index in range(100))
        results = await asyncio.gather(*calls, return_exceptions=True)
        for book in books:
            await book.close()
        held = await stores[0].read(lambda connection: connection.execute(select(budget_grants)).all())
    finally:
        for store in stores:
            await store.close()
    admitted = sum(result is None for result in results)
    assert 8 <= admitted <= 10
    assert sum(row.granted_nusd for row in held) == 100 * admitted


async def test_two_authorities_on_one_sqlite_file_do_not_grant_more_than_there_is(tmp_path, nano):
    await ten_of_a_hundred(str(tmp_path / "ledger.sqlite3"), nano)


async def test_two_authorities_on_postgresql_do_not_grant_more_than_there_is(postgres_url, nano):
    await ten_of_a_hundred(postgres_url, nano)
