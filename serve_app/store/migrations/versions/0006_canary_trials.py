"""Trials of canaries, and what each gateway has seen of them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "canary_trials",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("canary", sa.String, primary_key=True),
        sa.Column("live", sa.String, primary_key=True),
        sa.Column("began_revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("began_at_s", sa.Double, nullable=False),
        sa.Column("ended_at_s", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
        sa.Column("ended_by", sa.String),
        sa.Column("verdict", sa.JSON, nullable=False),
    )
    op.create_table(
        "canary_evidence",
        sa.Column("gateway", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("canary", sa.String, primary_key=True),
        sa.Column("live", sa.String, primary_key=True),
        sa.Column("since_revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("totals", sa.JSON, nullable=False),
    )
