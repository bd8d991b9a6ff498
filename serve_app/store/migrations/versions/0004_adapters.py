"""The adapter registry: names, versions, the audit log and one row with the revision."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables. The registry starts at revision 0."""
    counter = op.create_table(
        "adapter_revision",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counter, [{"one": 1, "revision": 0}])
    op.create_table(
        "adapter_names",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("canary_weight", sa.Double, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
    )
    _create_versions()
    op.create_table(
        "adapter_audit",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False, index=True),
        sa.Column("version", sa.String),
        sa.Column("detail", sa.String, nullable=False),
    )


def _create_versions() -> None:
    op.create_table(
        "adapter_versions",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("base_verified", sa.Boolean, nullable=False),
        sa.Column("base_override", sa.Boolean, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("report", sa.JSON, nullable=False),
        sa.Column("added_revision", sa.BigInteger, nullable=False),
        sa.Column("promoted_revision", sa.BigInteger),
        sa.Column("retired_at_s", sa.Double),
        sa.Column("files", sa.String, nullable=False),
    )
    for state in ("live", "canary"):
        only = sa.text(f"state = '{state}'")
        op.create_index(
            f"adapter_versions_{state}", "adapter_versions", ["name"],
            unique=True, sqlite_where=only, postgresql_where=only,
        )  # fmt: skip
