"""What accounting costs: pricing, journalling and handing over one query, and committing many, on SQLite in WAL.

    python -m bench.ledger [--queries 20000] [--rate 500] [--seconds 4] [--folder DIR]

The named peer commits each query on its own. What limits the figures: one fsync per commit (synchronous=FULL) and per
group of journal writes, so the disk under --folder. `price`, `begin` and `put` hold the event loop; `synced` and
`saved` are waits, in which other queries run. All include what the background flush steals from the thread.
Writes bench/results/ledger.json and prints it as the last line.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.machine import REPO
from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Attempt, Opening, Usage
from serve_app.ledger import PriceBook, Recorder, SqlLedger
from serve_app.ledger.journal import Journal

PRICES = PricesSettings.model_validate(
    {
        "version": "bench",
        "models": {
            "small": {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.06"},
            "large": {"replica_usd_per_hour": "0.04", "prefill_tokens_per_s": 900, "decode_tokens_per_s": 30},
        },
    }
)


def account(index: int) -> Answer:
    """An unpriced account; every fifth query was escalated."""
    escalated = index % 5 == 0
    small = Attempt(
        "specialists", "small", "legal", "escalated" if escalated else "accepted", Usage(100, 0, 40, 0.2), 90.0
    )
    large = Attempt("fallback", "large", None, "accepted", Usage(95, 0, 60, 0.9), 700.0)
    return Answer(
        query_id=f"chatcmpl-{index:032x}",
        created_at_s=time.time(),
        requested_model="auto",
        outcome="accepted",
        attempts=(small, large) if escalated else (small,),
        key_id=f"key-{index % 7}",
        route="legal",
        route_probability=0.93,
        adapter=None if escalated else "legal",
        model="large" if escalated else "small",
        escalated=escalated,
        reason="mean probability 0.71 reaches 0.55",
        confidence=0.71,
        first_token_ms=80.0,
        ms=800.0,
    )


async def fresh(folder: Path, name: str) -> SqlLedger:
    """A new, open ledger."""
    ledger = SqlLedger(str(folder / f"{name}.sqlite3"))
    await ledger.open()
    return ledger


PARTS = ("price", "begin", "synced", "put", "saved", "sum")


async def accounted(book: PriceBook, recorder: Recorder, index: int) -> list[float]:
    """One query's accounting, all of it; microseconds of each of the `PARTS`."""
    unpriced = account(index)
    times_s = [time.perf_counter()]
    recorder.begin(Opening(unpriced.query_id, unpriced.created_at_s, unpriced.requested_model, unpriced.key_id))
    times_s.append(time.perf_counter())
    await recorder.synced()
    times_s.append(time.perf_counter())
    priced = book.price(unpriced)
    times_s.append(time.perf_counter())
    recorder.put(priced)
    times_s.append(time.perf_counter())
    await recorder.saved(priced.query_id)
    times_s.append(time.perf_counter())
    begin, synced, price, put, saved = (1e6 * (later - earlier) for earlier, later in pairwise(times_s))
    return [price, begin, synced, put, saved, price + begin + synced + put + saved]


async def put_cost(
    folder: Path, rate: int, seconds: float, durability: Literal["local", "replicated"]
) -> dict[str, Any]:
    """Queries begun at a steady rate, each on its own, flushing beside them."""
    book, ledger = PriceBook(PRICES, "large"), await fresh(folder, f"put-{durability}")
    journal = Journal.open(folder / "journal", durability)
    recorder = Recorder(ledger, journal, flush_ms=50, max_batch=500, durability=durability)
    started_s, queries = time.perf_counter(), []
    for index in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started_s + index / rate - time.perf_counter()))
        queries.append(asyncio.create_task(accounted(book, recorder, index)))
    parts_us = np.array(await asyncio.gather(*queries)).T
    reached = len(queries) / (time.perf_counter() - started_s)
    await recorder.close()
    totals = (await ledger.stats(None, None, ()))["totals"]
    await ledger.close()
    assert totals["queries"] == len(queries), "every account is stored"
    return {
        "durability": durability,
        "asked_queries_per_s": rate,
        "reached_queries_per_s": round(reached),
        "num_flushes": recorder.num_flushes,
        "num_unreplicated": recorder.num_unreplicated,
        **{
            f"{name}_{part}_us": round(float(np.percentile(values, percent)), 1)
            for name, values in zip(PARTS, parts_us, strict=True)
            for part, percent in (("p50", 50), ("p99", 99))
        },
    }


async def commit_rate(folder: Path, num_queries: int, batch_size: int) -> dict[str, Any]:
    """Commit accounts in batches, one after the other; queries per second and milliseconds per transaction."""
    book = PriceBook(PRICES, "large")
    answers = [book.price(account(index)) for index in range(num_queries)]
    ledger = await fresh(folder, f"batch{batch_size}")
    batch_ms = []
    for start in range(0, num_queries, batch_size):
        before_s = time.perf_counter()
        await ledger.record(answers[start : start + batch_size])
        batch_ms.append(1e3 * (time.perf_counter() - before_s))
    repeat_s = time.perf_counter()
    repeats = [replace(answer, route="other") for answer in answers[:batch_size]]
    await ledger.record(repeats)  # a retry: must change nothing
    repeat_ms = 1e3 * (time.perf_counter() - repeat_s)
    stats_s = time.perf_counter()
    stats = await ledger.stats(None, None, ("route", "model"))
    stats_ms = 1e3 * (time.perf_counter() - stats_s)
    await ledger.close()
    assert stats["totals"]["queries"] == num_queries, "each query has exactly one row"
    return {
        "batch_size": batch_size,
        "num_queries": num_queries,
        "queries_per_s": round(1e3 * num_queries / sum(batch_ms)),
        "batch_p50_ms": round(float(np.percentile(batch_ms, 50)), 2),
        "batch_p99_ms": round(float(np.percentile(batch_ms, 99)), 2),
        "retry_ms": round(repeat_ms, 2),
        "stats_ms": round(stats_ms, 2),
    }


async def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All measurements, side by side in one run."""
    return {
        "bench": "ledger",
        "machine": machine.describe("sqlalchemy") | {"sqlite": sqlite3.sqlite_version},
        "put": [
            await put_cost(folder, args.rate, args.seconds, "local"),
            await put_cost(folder, args.rate, args.seconds, "replicated"),
        ],
        "commit": [
            await commit_rate(folder, args.queries, 500),
            await commit_rate(folder, args.queries, 50),
            await commit_rate(folder, max(1, args.queries // 20), 1),
        ],
    }


def show(result: dict[str, Any]) -> None:
    """The tables for people."""
    console = Console()
    for put in result["put"]:
        title = f"durability: {put['durability']}, {put['reached_queries_per_s']} queries/s"
        table = Table("accounting in the gateway", "p50 µs", "p99 µs", title=title)
        for name in PARTS:
            table.add_row(name, str(put[f"{name}_p50_us"]), str(put[f"{name}_p99_us"]))
        console.print(table)
    table = Table("queries per commit", "queries/s", "p50 ms", "p99 ms", title="SQLite, WAL, synchronous=FULL")
    for row in result["commit"]:
        name = "1 (peer: per-query commit)" if row["batch_size"] == 1 else str(row["batch_size"])
        table.add_row(name, f"{row['queries_per_s']:,}", str(row["batch_p50_ms"]), str(row["batch_p99_ms"]))
    console.print(table)


def main() -> None:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=20_000, help="accounts per batch size; a twentieth for the peer")
    parser.add_argument("--rate", type=int, default=500, help="queries per second for the put cost")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the put cost is measured")
    parser.add_argument("--folder", type=Path, help="where the databases are made; default: the temporary folder")
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results" / "ledger.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = asyncio.run(run(args, Path(folder)))
    show(result)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
