"""Accounts by day, hourly and daily totals, and the tables of prices, budgets, keys, texts and provisioned time.

Units of the columns: the `tables.py` of the package that fills them. Accounts of 0001 are carried over.
"""

import hashlib
import json
import math
import struct
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ROWS_AT_A_TIME = 5000
_GROUP = ("route", "adapter", "adapter_version", "model", "key_id", "outcome", "tier", "cache", "price_version")
_COARSE = {"adapter": None, "adapter_version": None, "key_id": None, "tier": None}
_SPANS = ((False, 3600), (False, 86_400), (True, 3600))
"""Whether without the columns of `_COARSE`, and over how many seconds."""
_SUMS = (
    "num_attempts",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "busy_ns",
    "cost_nusd",
    "always_large_nusd",
    "saved_by_cache_nusd",
    "saved_by_prefix_nusd",
    "saved_by_tier_nusd",
)


def upgrade() -> None:
    """Make the new tables, move the old accounts into them, add up what they hold."""
    connection = op.get_bind()
    _set_aside(connection)
    _create_accounts()
    _create_totals()
    _create_others()
    _carry_over(connection)


def _create_accounts() -> None:
    """One row per query, one per attempt; on PostgreSQL each day gets partitions when its first account comes."""
    op.create_table(
        "queries",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("query_id", sa.String, primary_key=True),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("requested_model", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("key_id", sa.String),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("gateway", sa.String),
        sa.Column("cache", sa.String),
        sa.Column("shadow_of", sa.String),
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
        sa.Column("first_token_bucket", sa.Integer),
        sa.Column("ms_bucket", sa.Integer, nullable=False),
        sa.Column("price_version", sa.String),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_basis", sa.String, nullable=False),
        sa.Column("saved_by_cache_nusd", sa.BigInteger, nullable=False),
        sa.Column("saved_by_prefix_nusd", sa.BigInteger, nullable=False),
        sa.Column("saved_by_tier_nusd", sa.BigInteger, nullable=False),
        sa.Column("num_attempts", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("busy_ns", sa.BigInteger, nullable=False),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_index("queries_created_at_s", "queries", ["created_at_s"])
    op.create_index("queries_key_id_created_at_s", "queries", ["key_id", "created_at_s"])
    op.create_index(
        "queries_shadows_created_at_s",
        "queries",
        ["created_at_s"],
        sqlite_where=sa.text("shadow_of IS NOT NULL"),
        postgresql_where=sa.text("shadow_of IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("query_id", sa.String, primary_key=True),
        sa.Column("attempt_index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("role", sa.String, nullable=False),
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
        postgresql_partition_by="RANGE (day)",
    )
    op.create_table(
        "ledger_days",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("pruned_at_s", sa.Double),
    )


def _create_totals() -> None:
    """What hours and days add up to."""
    op.create_table(
        "rollup_groups",
        sa.Column("group_id", sa.LargeBinary, primary_key=True),
        sa.Column("route", sa.String),
        sa.Column("adapter", sa.String),
        sa.Column("adapter_version", sa.String),
        sa.Column("model", sa.String),
        sa.Column("key_id", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("tier", sa.String),
        sa.Column("cache", sa.String),
        sa.Column("price_version", sa.String),
    )
    op.create_table(
        "rollups",
        sa.Column("coarse", sa.Boolean, primary_key=True),
        sa.Column("span_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.LargeBinary, primary_key=True),
        sa.Column("num_queries", sa.BigInteger, nullable=False),
        sa.Column("num_attempts", sa.BigInteger, nullable=False),
        sa.Column("num_escalated", sa.BigInteger, nullable=False),
        sa.Column("num_measured", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("busy_ns", sa.BigInteger, nullable=False),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_nusd", sa.BigInteger, nullable=False),
        sa.Column("saved_by_cache_nusd", sa.BigInteger, nullable=False),
        sa.Column("saved_by_prefix_nusd", sa.BigInteger, nullable=False),
        sa.Column("saved_by_tier_nusd", sa.BigInteger, nullable=False),
        sa.Column("ms_histogram", sa.LargeBinary, nullable=False),
        sa.Column("first_token_histogram", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_others() -> None:
    """Prices and what is compared with them, texts, keys, budgets."""
    op.create_table(
        "price_versions",
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("effective_from_s", sa.Double, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("stored_at_s", sa.Double, nullable=False),
    )
    op.create_table(
        "repricings",
        sa.Column("repricing_id", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("since_s", sa.Double),
        sa.Column("until_s", sa.Double),
        sa.Column("created_at_s", sa.Double, nullable=False),
    )
    op.create_table(
        "repriced_queries",
        sa.Column("repricing_id", sa.String, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("query_id", sa.String, primary_key=True),
        sa.Column("cost_nusd", sa.BigInteger, nullable=False),
        sa.Column("always_large_nusd", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "provisioned",
        sa.Column("hour_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("deployment", sa.String, primary_key=True),
        sa.Column("replica_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "texts",
        sa.Column("query_id", sa.String, primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("key_id", sa.String),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("model", sa.String),
        sa.Column("adapter", sa.String),
        sa.Column("adapter_version", sa.String),
        sa.Column("escalated", sa.Boolean, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
    )
    op.create_index("texts_day", "texts", ["day"])
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("models", sa.JSON(none_as_null=True)),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("semantic_cache", sa.Boolean, nullable=False),
        sa.Column("store_texts", sa.Boolean, nullable=False),
        sa.Column("created_at_s", sa.Double, nullable=False),
        sa.Column("revoked_at_s", sa.Double),
    )
    op.create_table(
        "budget_grants",
        sa.Column("budget", sa.String, primary_key=True),
        sa.Column("window_start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("gateway", sa.String, primary_key=True),
        sa.Column("granted_nusd", sa.BigInteger, nullable=False),
        sa.Column("granted_tokens", sa.BigInteger, nullable=False),
    )


def _set_aside(connection: sa.Connection) -> None:
    """Give the old tables other names; their keys and index too, since names of new ones must be free."""
    op.drop_index("queries_created_at_s", "queries")
    for table in ("attempts", "queries"):
        op.rename_table(table, f"{table}_0001")
        if connection.dialect.name == "postgresql":
            op.execute(f"ALTER TABLE {table}_0001 RENAME CONSTRAINT {table}_pkey TO {table}_0001_pkey")


def _carry_over(connection: sa.Connection) -> None:
    """Move the accounts, a bounded number at a time, then drop the old tables."""
    totals: dict[tuple[Any, ...], dict[str, Any]] = {}
    days: set[int] = set()
    last_id: str | None = None
    while rows := _old_rows(connection, last_id):
        last_id = rows[-1]["query_id"]
        for day in sorted({row["day"] for row in rows} - days):
            _add_day(connection, day)
            days.add(day)
        connection.execute(sa.insert(_table(connection, "queries")), rows)
        for row in rows:
            _add_up(totals, row)
    op.execute(
        "INSERT INTO attempts (day, query_id, attempt_index, role, choice_index, node, model, adapter, adapter_version,"
        " outcome, prompt_tokens, cached_tokens, completion_tokens, busy_ns, ms, confidence, cost_nusd)"
        " SELECT q.day, a.query_id, a.attempt_index, CASE a.outcome WHEN 'shadow' THEN 'shadow' ELSE 'answer' END,"
        " a.choice_index, a.node, a.model, a.adapter, a.adapter_version, a.outcome, a.prompt_tokens, a.cached_tokens,"
        " a.completion_tokens, a.busy_ns, a.ms, a.confidence, a.cost_nusd"
        " FROM attempts_0001 a JOIN queries q ON q.query_id = a.query_id"
    )
    _store_totals(connection, totals)
    op.drop_table("attempts_0001")
    op.drop_table("queries_0001")


def _old_rows(connection: sa.Connection, last_id: str | None) -> list[dict[str, Any]]:
    """The next old accounts after `last_id`, as rows of the new table."""
    found = connection.execute(
        sa.text(
            "SELECT q.*, (SELECT coalesce(sum(a.cached_tokens), 0) FROM attempts_0001 a WHERE a.query_id = q.query_id)"
            f" AS cached_tokens FROM queries_0001 q {'' if last_id is None else 'WHERE q.query_id > :last_id'}"
            " ORDER BY q.query_id LIMIT :count"
        ),
        {"count": _ROWS_AT_A_TIME} | ({} if last_id is None else {"last_id": last_id}),
    )
    return [
        dict(row)
        | {
            "day": math.floor(row["created_at_s"] / 86_400),
            "escalated": bool(row["escalated"]),
            "cached_tokens": int(row["cached_tokens"]),
            "tier": "default",
            "gateway": None,
            "cache": None,
            "shadow_of": None,
            "saved_by_cache_nusd": 0,
            "saved_by_prefix_nusd": 0,
            "saved_by_tier_nusd": 0,
            "ms_bucket": _bucket(row["ms"]),
            "first_token_bucket": None if row["first_token_ms"] is None else _bucket(row["first_token_ms"]),
        }
        for row in found.mappings()
    ]


def _add_day(connection: sa.Connection, day: int) -> None:
    if connection.dialect.name == "postgresql":
        for table in ("queries", "attempts"):
            name = f"{table}_day_{day}"
            op.execute(f'CREATE TABLE "{name}" PARTITION OF {table} FOR VALUES FROM ({day}) TO ({day + 1})')
    connection.execute(sa.insert(_table(connection, "ledger_days")), {"day": day, "pruned_at_s": None})


def _add_up(totals: dict[tuple[Any, ...], dict[str, Any]], row: dict[str, Any]) -> None:
    """Add an account to its hour and its day, and to its hour once more with fewer groups."""
    counts = {"num_queries": 1, "num_escalated": int(row["escalated"]), "num_measured": 0}
    if row["outcome"] != "shadow" and row["always_large_basis"] == "measured":
        counts["num_measured"] = 1
    for coarse, span_s in _SPANS:
        group = row | _COARSE if coarse else row
        names = (*(group[name] for name in _GROUP),)
        start_s = math.floor(row["created_at_s"] / span_s) * span_s
        total = totals.setdefault((coarse, span_s, start_s, names), {"ms_bucket": {}, "first_token_bucket": {}})
        for name, count in (counts | {name: row[name] for name in _SUMS}).items():
            total[name] = total.get(name, 0) + count
        if row["outcome"] != "shadow":
            for name in ("ms_bucket", "first_token_bucket"):
                if row[name] is not None:
                    total[name][row[name]] = total[name].get(row[name], 0) + 1


def _store_totals(connection: sa.Connection, totals: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    ids = {
        names: hashlib.sha256(json.dumps(names, separators=(",", ":")).encode()).digest()[:16]
        for names in {names for *_, names in totals}
    }
    groups = [{"group_id": group_id} | dict(zip(_GROUP, names, strict=True)) for names, group_id in ids.items()]
    rows = [
        {name: count for name, count in total.items() if not name.endswith("_bucket")}
        | {"coarse": coarse, "span_s": span_s, "start_s": start_s, "group_id": ids[names]}
        | {"ms_histogram": _pack(total["ms_bucket"]), "first_token_histogram": _pack(total["first_token_bucket"])}
        for (coarse, span_s, start_s, names), total in totals.items()
    ]
    if rows:
        connection.execute(sa.insert(_table(connection, "rollup_groups")), groups)
        connection.execute(sa.insert(_table(connection, "rollups")), rows)


def _table(connection: sa.Connection, name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=connection)


def _bucket(ms: float) -> int:
    """Sixteen buckets from each power of two to the next, the first at 2^-10 ms."""
    return max(0, math.floor(16 * math.log2(ms)) + 160) if ms > 0 else 0


def _pack(counts: dict[int, int]) -> bytes:
    return b"".join(struct.pack("<HI", bucket, count) for bucket, count in sorted(counts.items()))
