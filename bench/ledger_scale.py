"""How the ledger does with millions of accounts, on SQLite and on PostgreSQL.

    python -m bench.ledger_scale [--rows 10000000] [--days 30] [--databases sqlite,postgresql] [--folder DIR]

Accounts are loaded through `SqlLedger.record`, 5000 at a time, durably, and the sums that it tells are checked against
those of the generator. Cold is a new process-side connection with the files out of the page cache (and PostgreSQL
restarted); warm is the median of seven. The named peer adds the accounts up with no roll-ups. What limits the figures:
loading, one Python thread that builds rows; reading, the disk under --folder when cold.
PostgreSQL is a private cluster with its default settings and fsync on, on the same machine.
Writes bench/results/ledger_scale.json and prints it as the last line.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from bench import machine
from bench.postgres import Cluster, private_cluster
from serve_app.core import NANO_USD, Answer, Attempt, CacheHit, Usage
from serve_app.ledger import SqlLedger
from serve_app.ledger.times import DAY_S, HOUR_S

BATCH_SIZE = 5000
START_S = 20_000 * DAY_S
BYTES_PER_ROW = 1500
"""Room asked for before loading; both databases stay well below."""
ROUTES = {"legal": "legal", "medical": "medical", "code": "code", "support": "support", "general": None}


@dataclass(frozen=True, slots=True)
class Database:
    """One kind of database: how to reach it, how big it is, how to forget what is in memory."""

    url: str
    size: Callable[[Connection], int]
    cool: Callable[[], None]


def templates(rng: random.Random, count: int = 4000) -> list[Answer]:
    """Accounts without id and time: five routes, twenty keys, a fifth escalated, some cached, flex or failed."""
    found = []
    for _ in range(count):
        route = rng.choice(list(ROUTES))
        escalated = rng.random() < 0.2
        cache: CacheHit | None = "exact" if rng.random() < 0.05 else None
        adapter, tokens = ROUTES[route], rng.randrange(20, 400)
        small = Attempt(
            "specialists", "small", adapter, "escalated" if escalated else "accepted",
            Usage(tokens, tokens // 3, rng.randrange(5, 120), rng.random()), rng.expovariate(1 / 300),
            "1f0c" if adapter else None, cost_nusd=rng.randrange(1_000, 60_000),
        )  # fmt: skip
        large = Attempt(
            "fallback", "large", None, "accepted", Usage(tokens, 0, rng.randrange(5, 200), 2 * rng.random()),
            rng.expovariate(1 / 1500), cost_nusd=rng.randrange(10_000, 400_000),
        )  # fmt: skip
        attempts = (small, large) if escalated else (small,)
        cost_nusd = sum(attempt.cost_nusd for attempt in attempts)
        found.append(
            Answer(
                "", 0.0, "auto", "failed" if rng.random() < 0.01 else "accepted", attempts,
                key_id=f"key-{rng.randrange(20)}", route=route, route_probability=0.93,
                adapter=None if escalated else adapter, adapter_version=None if escalated or not adapter else "1f0c",
                model="large" if escalated else "small", escalated=escalated, confidence=0.71, cache=cache,
                reason="mean probability 0.71 reaches 0.55", first_token_ms=rng.expovariate(1 / 80),
                ms=rng.expovariate(1 / 700), price_version="2026-01", cost_nusd=cost_nusd,
                always_large_nusd=3 * cost_nusd, tier="flex" if rng.random() < 0.05 else "default", gateway="g1",
                saved_by_prefix_nusd=cost_nusd // 10, saved_by_cache_nusd=cost_nusd if cache else 0,
            )
        )  # fmt: skip
    return found


def batches(num_rows: int, num_days: int) -> Iterator[list[Answer]]:
    """Accounts in the order of their time, evenly spread, with ids as a gateway makes them. The same in every run."""
    rng = random.Random(5)
    kinds = templates(rng)
    step_s = num_days * DAY_S / num_rows
    for first in range(0, num_rows, BATCH_SIZE):
        batch = []
        for index in range(first, min(first + BATCH_SIZE, num_rows)):
            at_s = START_S + index * step_s
            query_id = f"q{int(at_s * 1000):012x}{rng.getrandbits(64):016x}"
            batch.append(replace(rng.choice(kinds), query_id=query_id, created_at_s=at_s))
        yield batch


async def load(ledger: SqlLedger, num_rows: int, num_days: int) -> dict[str, Any]:
    """Record everything; how long it took, and how long the batches of the last tenth took against the first."""
    batch_s, cost_nusd, last_id = [], 0, ""
    for batch in batches(num_rows, num_days):
        cost_nusd += sum(answer.cost_nusd for answer in batch)
        last_id = batch[-1].query_id
        before_s = time.perf_counter()
        await ledger.record(batch)
        batch_s.append(time.perf_counter() - before_s)
        if len(batch_s) % 200 == 0:
            print(f"  {len(batch_s) * BATCH_SIZE:,} rows in {sum(batch_s):,.0f} s", flush=True)
    totals = (await ledger.stats(None, None, ()))["totals"]
    assert totals["queries"] == num_rows, "every account is stored once"
    assert totals["cost_usd"] == cost_nusd / NANO_USD, "to the nano-dollar"
    tenth = max(1, len(batch_s) // 10)
    return {
        "load_s": round(sum(batch_s), 1),
        "rows_per_s": round(num_rows / sum(batch_s)),
        "first_tenth_rows_per_s": round(tenth * BATCH_SIZE / sum(batch_s[:tenth])),
        "last_tenth_rows_per_s": round(tenth * BATCH_SIZE / sum(batch_s[-tenth:])),
        "last_id": last_id,
    }


def questions(end_s: float, last_id: str) -> dict[str, Callable[[SqlLedger], Awaitable[Any]]]:
    """What is asked of the ledger, by name."""
    return {
        "totals of all": lambda ledger: ledger.stats(None, None, ()),
        "all by route and model": lambda ledger: ledger.stats(None, None, ("route", "model")),
        "all by every key but hour": lambda ledger: ledger.stats(
            None, None, ("route", "adapter", "model", "key", "outcome", "tier", "cache")
        ),
        "all by hour": lambda ledger: ledger.stats(None, None, ("hour",)),
        "7 days of one key by route": lambda ledger: ledger.stats(end_s - 7 * DAY_S, None, ("route",), "key-3"),
        "last 24 h by hour, from a full hour": lambda ledger: ledger.stats(end_s - DAY_S, None, ("hour",)),
        "last 24 h, from half past": lambda ledger: ledger.stats(end_s - DAY_S + HOUR_S / 2, None, ("route",)),
        "spent by one key since midnight": lambda ledger: ledger.spend("key-3", end_s - DAY_S),
        "newest 50 of one key": lambda ledger: ledger.recent(50, None, "key-3"),
        "one query by id": lambda ledger: ledger.query(last_id),
    }


async def ask(database: Database, num_days: int, last_id: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each question, cold and warm."""
    found = {}
    for name, question in questions(START_S + num_days * DAY_S, last_id).items():
        database.cool()
        ledger = SqlLedger(database.url, read_only=True)
        await ledger.open()
        took_ms = []
        for _ in range(8):
            before_s = time.perf_counter()
            await question(ledger)
            took_ms.append(1e3 * (time.perf_counter() - before_s))
        await ledger.close()
        found[name] = {"cold_ms": round(took_ms[0], 1), "warm_ms": round(statistics.median(took_ms[1:]), 1)}
    ledger = SqlLedger(database.url, read_only=True)
    await ledger.open()
    before_s = time.perf_counter()
    await ledger.store.read(
        lambda connection: connection.execute(
            text("SELECT route, model, count(*), sum(cost_nusd) FROM queries GROUP BY route, model")
        ).all()
    )
    found["peer: all by route and model, from the accounts"] = {
        "cold_ms": round(1e3 * (time.perf_counter() - before_s), 1)
    }
    await ledger.close()
    return found


async def measure(database: Database, num_rows: int, num_days: int) -> dict[str, Any]:
    """Load, size, questions."""
    ledger = SqlLedger(database.url)
    await ledger.open()
    loaded = await load(ledger, num_rows, num_days)
    last_id = loaded.pop("last_id")
    num_bytes = await ledger.store.read(database.size)
    counts = await ledger.store.read(
        lambda connection: {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in ("attempts", "rollups", "rollup_groups")
        }
    )
    await ledger.close()
    return {
        "num_rows": num_rows,
        **loaded,
        "size_mb": round(num_bytes / 1e6),
        "bytes_per_query": round(num_bytes / num_rows),
        "num": counts,
        "questions": await ask(database, num_days, last_id),
    }


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Database]:
    """A file."""
    file = folder / "ledger.sqlite3"
    yield Database(
        str(file),
        lambda connection: connection.execute(
            text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        ).scalar_one(),
        lambda: forget([file]),
    )
    file.unlink(missing_ok=True)


@contextmanager
def on_postgresql(folder: Path) -> Iterator[Database]:
    """A cluster of our own."""
    with private_cluster(folder=folder) as cluster:
        yield Database(
            cluster.url(),
            lambda connection: connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one(),
            lambda: _restart(cluster, folder),
        )


def _restart(cluster: Cluster, folder: Path) -> None:
    cluster.stop()
    forget(path for path in folder.rglob("*") if path.is_file())
    cluster.start()


def forget(files: Any) -> None:
    """Ask the kernel to drop these files from its page cache."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


KINDS = {"sqlite": on_sqlite, "postgresql": on_postgresql}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """One database after the other, each deleted before the next. Raises OSError where there is too little room."""
    result: dict[str, Any] = {
        "bench": "ledger_scale",
        "machine": machine.describe("sqlalchemy", "psycopg") | {"sqlite": sqlite3.sqlite_version},
        "num_days": args.days,
        "batch_size": BATCH_SIZE,
    }
    for kind in args.databases.split(","):
        with tempfile.TemporaryDirectory(dir=args.folder) as made:
            Path(made).chmod(0o755)
            free = shutil.disk_usage(made).free
            if free < 2 * BYTES_PER_ROW * args.rows:
                raise OSError(f"{made} has {free / 1e9:.1f} GB free; {args.rows:,} rows need twice their size")
            print(kind, flush=True)
            with KINDS[kind](Path(made)) as database:
                result[kind] = asyncio.run(measure(database, args.rows, args.days))
        keep(result, args.out)
    return result


def keep(result: dict[str, Any], path: Path) -> None:
    """Write what is measured so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console(width=140)
    kinds = [kind for kind in KINDS if kind in result]
    table = Table("", *kinds, title=f"{result[kinds[0]]['num_rows']:,} queries over {result['num_days']} days")
    for name in (
        "load_s",
        "rows_per_s",
        "first_tenth_rows_per_s",
        "last_tenth_rows_per_s",
        "size_mb",
        "bytes_per_query",
    ):
        table.add_row(name, *(f"{result[kind][name]:,}" for kind in kinds))
    for name in result[kinds[0]]["questions"]:
        cells = (result[kind]["questions"][name] for kind in kinds)
        table.add_row(name, *(f"{c['cold_ms']:,} ms cold, {c.get('warm_ms', '–')} ms warm" for c in cells))
    console.print(table)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="queries to load")
    parser.add_argument("--days", type=int, default=30, help="days over which they are spread")
    parser.add_argument("--databases", default=",".join(KINDS), help="comma-separated")
    parser.add_argument("--folder", type=Path, help="where the databases are made; default: the temporary folder")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "ledger_scale.json")
    args = parser.parse_args()
    result = run(args)
    show(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
