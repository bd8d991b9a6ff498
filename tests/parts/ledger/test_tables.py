"""The schema, pinned: a change here needs a new migration."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from serve_app.adapters.registry import routing
from serve_app.adapters.registry import tables as adapter_tables
from serve_app.budgets import tables as budget_tables
from serve_app.canary import tables as canary_tables
from serve_app.core import Answer, Attempt, Usage
from serve_app.keys import tables as key_tables
from serve_app.ledger.tables import attempts, metadata, queries, rollup_groups, rollups
from serve_app.store import Store

ALL = [
    metadata,
    key_tables.metadata,
    budget_tables.metadata,
    adapter_tables.metadata,
    routing.metadata,
    canary_tables.metadata,
]
QUERIES = (
    "day query_id created_at_s requested_model outcome key_id tier gateway cache shadow_of route route_probability "
    "adapter adapter_version model escalated reason confidence first_token_ms ms first_token_bucket ms_bucket "
    "price_version cost_nusd always_large_nusd always_large_basis saved_by_cache_nusd saved_by_prefix_nusd "
    "saved_by_tier_nusd num_attempts prompt_tokens cached_tokens completion_tokens busy_ns"
)
ATTEMPTS = (
    "day query_id attempt_index role choice_index node model adapter adapter_version outcome prompt_tokens "
    "cached_tokens completion_tokens busy_ns ms confidence cost_nusd"
)
GROUPS = "group_id route adapter adapter_version model key_id outcome tier cache price_version"
ROLLUPS = (
    "coarse span_s start_s group_id num_queries num_attempts num_escalated num_measured prompt_tokens cached_tokens "
    "completion_tokens busy_ns cost_nusd always_large_nusd saved_by_cache_nusd saved_by_prefix_nusd saved_by_tier_nusd "
    "ms_histogram first_token_histogram"
)


@pytest.mark.parametrize(
    ("table", "names"), [(queries, QUERIES), (attempts, ATTEMPTS), (rollup_groups, GROUPS), (rollups, ROLLUPS)]
)
def test_the_column_set_is_pinned(table, names):
    assert [column.name for column in table.columns] == names.split()


def test_every_field_of_an_account_has_a_column():
    assert set(Answer.__dataclass_fields__) - {"attempts"} <= set(queries.columns.keys())
    of_attempt = (set(Attempt.__dataclass_fields__) | set(Usage.__dataclass_fields__)) - {"usage", "busy_s"}
    assert of_attempt <= set(attempts.columns.keys())


def test_every_column_says_its_unit_or_meaning():
    tables = [table for each in ALL for table in each.sorted_tables]
    assert [str(column) for table in tables for column in table.columns if not column.doc] == []


def test_money_and_counts_that_add_up_are_integers():
    tables = [table for each in ALL for table in each.sorted_tables]
    summed = [
        column for table in tables for column in table.columns if column.name.endswith(("_nusd", "_ns", "_tokens"))
    ]
    assert {type(column.type).__name__ for column in summed} == {"BigInteger"}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "store.sqlite3")
    return request.getfixturevalue("postgres_url")


async def test_the_migrations_make_exactly_these_tables(url):
    store = Store(url)
    await store.open()
    differences = await store.read(lambda connection: compare_metadata(MigrationContext.configure(connection), ALL))
    await store.close()
    assert differences == []
