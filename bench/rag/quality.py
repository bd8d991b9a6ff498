"""What answers are worth and cost: base, fine-tuned, RAG, both, and the large model, on held-out questions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rag.answers import answers, latencies
from bench.rag.kinds import BESIDE, BEST, COMMITTED, KINDS, Asked
from bench.rag.knowledge import SETTINGS, ask, finder, open_store
from bench.rag.served import served
from bench.rag.specialists import TOKENS, load_both, train_both
from bench.rag.table import by_hit, difference, scored, table_row
from bench.rag.task import digests, pages, questions
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import cache_dir


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rows: int
    """Test questions for the table."""
    beside: int
    """Of these, for the rows that explain it; 0: none."""
    timed: int
    """Of these, asked one at a time."""
    served: int
    """Of these, also asked through the product's own pattern."""


QUICK = Effort(rows=32, beside=0, timed=3, served=3)
FULL = Effort(rows=120, beside=60, timed=8, served=4)


async def measure(
    data: Path, effort: Effort, threads: int, say: Callable[[str], object], folder: Path, split: str = "test"
) -> dict[str, Any]:
    """The table, with what explains it. `folder` holds both adapters, or they are trained into it."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-rag-") as place:
        store = open_store(Path(place), pages(data), threads, say)
        if folder != COMMITTED:
            rows = {name: questions(data, name) for name in ("train", "validation")}
            train_both(rows, digests(data), finder(store), folder, say)
        adapters = load_both(folder)
        asked, search = ask(store, questions(data, split)[: effort.rows])
        say(f"search: {search}")
        table, scores = await _tabled(asked, effort, adapters, threads, search["search_p50_ms"] / 1000, say)
        same = await served(store, asked[: effort.served], adapters, threads)
    best = scores[BEST]
    return {
        "task": {
            "set": "MedQuAD", "split": split, "metric": "rouge_l", "digests": digests(data), "passages": SETTINGS.limit,
            "passage_tokens": SETTINGS.passage_tokens, "training_tokens": TOKENS,
        },
        "search": search,
        "adapters": {name: spec.version for name, spec in adapters.items()},
        "quality": table[: len(KINDS)],
        "quality_beside": table[len(KINDS) :],
        "best_small_by": {name: difference(one, best[: len(one)]) for name, one in scores.items() if name != BEST},
        "served_alike": same,
        "by_hit": by_hit(asked, scores),
    }  # fmt: skip


async def _tabled(
    asked: Sequence[Asked],
    effort: Effort,
    adapters: Mapping[str, AdapterSpec],
    threads: int,
    search_s: float,
    say: Callable[[str], object],
) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """The table's rows, and each kind's scores by question."""
    beside = [(kind, asked[: effort.beside]) for kind in BESIDE] if effort.beside else []
    table, scores = [], {}
    for kind, sample in [*((kind, asked) for kind in KINDS), *beside]:
        given = await answers(kind, sample, adapters, threads, cache_dir() / "bench" / "rag")
        scores[kind.name] = scored(sample, given)
        table.append(table_row(kind, scores[kind.name], given, search_s))
        say(f"{kind.name}: {table[-1]['rouge_l']}")
    took_s = await latencies(KINDS, asked[: effort.timed], adapters, threads)
    for row in table[: len(KINDS)]:
        row["latency_p50_s"] = round(took_s[row["kind"]] + search_s * (row["passages"] == "found"), 3)
    return table, scores
