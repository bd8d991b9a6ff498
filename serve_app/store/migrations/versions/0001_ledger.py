"""The ledger: one row per query, one per attempt. Units of the columns: serve_app/ledger/tables.py."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables and the index that time ranges use."""
    op.create_table(
        "queries",
        sa.Column("query_id", sa.String, primary_key=True),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("requested_model", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("key_id", sa.String),
        sa.Column("route", sa.String),
        sa.Column("route_probability", sa.Double),
        sa.Column("adapter", sa.String),
        sa.Column("adapter_version", sa.String),
        sa.Column("model", sa.String),
        sa.Column("escalated", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("confidence", sa.Double),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("ms", sa.Double, nullable=False),
        sa.Column("price_version", sa.String),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_basis", sa.String, nullable=False),
        sa.Column("num_attempts", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("busy_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("queries_created_at_s", "queries", ["created_at_s"])
    op.create_table(
        "attempts",
        sa.Column("query_id", sa.String, sa.ForeignKey("queries.query_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("attempt_index", sa.Integer, primary_key=True),
        sa.Column("choice_index", sa.Integer, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("adapter", sa.String),
        sa.Column("adapter_version", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("busy_ns", sa.BigInteger, nullable=False),
        sa.Column("ms", sa.Double, nullable=False),
        sa.Column("confidence", sa.Double),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
    )
