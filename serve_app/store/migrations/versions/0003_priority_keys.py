"""Keys with the right to ask for the service tier `priority`. Those of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("api_keys", sa.Column("priority", sa.Boolean, nullable=False, server_default=sa.false()))
