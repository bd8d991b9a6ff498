"""The schema, pinned: a change here needs a new migration."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from serve_app.core import Answer, Attempt, Usage
from serve_app.ledger.tables import attempts, metadata, queries
from serve_app.store import Store

QUERIES = (
    "query_id created_at_s requested_model outcome key_id route route_probability adapter adapter_version model "
    "escalated reason confidence first_token_ms ms price_version cost_nusd always_large_nusd always_large_basis "
    "num_attempts prompt_tokens completion_tokens busy_ns"
)
ATTEMPTS = (
    "query_id attempt_index choice_index node model adapter adapter_version outcome prompt_tokens cached_tokens "
    "completion_tokens busy_ns ms confidence cost_nusd"
)


def test_the_column_set_is_pinned():
    assert [column.name for column in queries.columns] == QUERIES.split()
    assert [column.name for column in attempts.columns] == ATTEMPTS.split()


def test_every_field_of_an_account_has_a_column():
    assert set(Answer.__dataclass_fields__) - {"attempts"} <= set(queries.columns.keys())
    of_attempt = (set(Attempt.__dataclass_fields__) | set(Usage.__dataclass_fields__)) - {"usage", "busy_s"}
    assert of_attempt <= set(attempts.columns.keys())


def test_every_column_says_its_unit_or_meaning():
    assert [str(column) for table in metadata.sorted_tables for column in table.columns if not column.doc] == []


async def test_the_migrations_make_exactly_these_tables(tmp_path):
    store = Store(str(tmp_path / "store.sqlite3"))
    await store.open()
    differences = await store.read(
        lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
    )
    await store.close()
    assert differences == []
