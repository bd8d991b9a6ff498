"""Routing: what was applied to a running graph, and the files of its routers."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "routing_changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("routes", sa.JSON),
        sa.Column("fallback", sa.String),
        sa.Column("router", sa.String),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_table(
        "router_files",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
