"""The table's arithmetic: ROUGE-L with bootstrap intervals, and what the demo profile bills. No engine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.rag.kinds import KINDS, LARGE, SMALL, Asked, Kind
from serve_app.config import load
from serve_app.config.prices import ReplicaPrices
from serve_app.core import NANO_USD, Usage
from serve_app.distill.answers import Generated
from serve_app.ledger.pricebook import PriceBook
from serve_app.training.scores import rouge_l
from serve_app.training.statistics import RowScore, compare

_RESAMPLES = 5000


def scored(asked: Sequence[Asked], given: Sequence[Generated]) -> list[float]:
    """ROUGE-L of each answer."""
    return [rouge_l(answer.text, one.question.reference) for one, answer in zip(asked, given, strict=True)]


def table_row(kind: Kind, scores: Sequence[float], given: Sequence[Generated], search_s: float) -> dict[str, Any]:
    """One row of the table, but for its latency. `search_s`: core-seconds of one search, at the price of a core."""
    low, high = interval(scores)
    cost_nusd = statistics.mean(price_nusd(kind.model, one) for one in given)
    if kind.context == "found":
        cost_nusd += search_s * core_usd_per_s() * NANO_USD
    return {
        "kind": kind.name,
        "model": kind.model,
        "adapter": kind.adapter,
        "passages": kind.context,
        "rows": len(scores),
        "rouge_l": round(statistics.mean(scores), 4),
        "low_95": round(low, 4),
        "high_95": round(high, 4),
        "prompt_tokens": round(statistics.mean(one.prompt_tokens for one in given), 1),
        "completion_tokens": round(statistics.mean(one.completion_tokens for one in given), 1),
        "usd_per_1000": round(cost_nusd * 1000 / NANO_USD, 6),
    }


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean."""
    drawn = np.random.default_rng(seed).choice(np.asarray(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def difference(worse: Sequence[float], better: Sequence[float]) -> dict[str, float]:
    """How much `better` is better, with the 95 % interval of the paired bootstrap over questions."""
    before, after = (
        [RowScore(row, "all", "rouge_l", value) for row, value in enumerate(values)] for values in (worse, better)
    )
    (found,) = compare(before, after)
    return {
        "by": round(found.after - found.before, 4),
        "low_95": round(found.low, 4),
        "high_95": round(found.high, 4),
    }


def by_hit(asked: Sequence[Asked], scores: dict[str, list[float]]) -> dict[str, Any]:
    """ROUGE-L of the table's kinds where the search found the passage that answers, and where it did not."""
    hits = [bool(one.right) and one.right[0].passage_id in {each.passage_id for each in one.found} for one in asked]
    pairs = {kind.name: list(zip(hits, scores[kind.name], strict=True)) for kind in KINDS}
    return {
        "hits": sum(hits),
        "misses": len(hits) - sum(hits),
        "found": {name: _mean([value for hit, value in each if hit]) for name, each in pairs.items()},
        "missed": {name: _mean([value for hit, value in each if not hit]) for name, each in pairs.items()},
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(statistics.mean(values), 4) if values else None


def price_nusd(model: str, given: Generated) -> int:
    """What the demo profile bills for an answer, in nano-dollars."""
    book = PriceBook(load("demo").prices, LARGE, (SMALL,))
    usage = Usage(prompt_tokens=given.prompt_tokens, completion_tokens=given.completion_tokens)
    return book.cost_nusd(model, usage)


def core_usd_per_s() -> float:
    """Of a core of the demo profile."""
    prices = load("demo").prices.models[SMALL]
    assert isinstance(prices, ReplicaPrices)
    return float(prices.replica_usd_per_hour) / 3600
