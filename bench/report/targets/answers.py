"""Ensembles, and answers with documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.target import (
    At,
    Beside,
    NotThere,
    Section,
    Target,
    Unit,
    above,
    at,
    at_least,
    below,
    named,
    worked,
)

_GAIN = ("quality", "vote_over_best_member")

ENSEMBLE = Section(
    "Ensemble",
    (
        Target(
            "four-rows",
            "four rows in one batch cost under 1.5 × the time of one",
            "ensemble",
            at("time_of_4_over_1"),
            below(1.5),
            Unit.TIMES,
            beside=(
                Beside("four samples", at("rows", "time_of_4_samples_over_1"), Unit.TIMES),
                Beside("in lock step", at("rows", "time_of_4_in_lock_step_over_1"), Unit.TIMES),
                Beside("without guessing ahead", at("rows", "time_of_4_over_1_without_guessing"), Unit.TIMES),
            ),
            how="Four adapters on the shipped small base.",
        ),
        Target(
            "vote",
            "the vote above the best member that validation chose",
            "ensemble",
            at("vote_accuracy"),
            above(named("the best member", at("best_member_accuracy"))),
            Unit.SHARE,
            beside=(Beside("the large model", at("large_accuracy"), Unit.SHARE),),
            how="Four adapters trained on disjoint parts; requests that nobody has seen.",
        ),
        Target(
            "vote-margin",
            "outside the bootstrap interval",
            "ensemble",
            worked("low end of the interval over the best member", min, at(*_GAIN, "interval_95")),
            above(0),
            Unit.POINTS,
            beside=(
                Beside("mean", at(*_GAIN, "mean"), Unit.POINTS),
                Beside("high end", worked("high end", max, at(*_GAIN, "interval_95")), Unit.POINTS),
            ),
            how="The low end of the paired 95 % interval over the best member.",
        ),
    ),
)


def _recall(mode: str) -> At:
    return at(f"recall_at_10_{mode}")


def _kind(name: str) -> Any:
    """ROUGE-L of a row of the table of answers."""

    def score(rows: list[Mapping[str, Any]]) -> float:
        found = [row["rouge_l"] for row in rows if row["kind"] == name]
        if not found:
            raise NotThere(name)
        return float(found[0])

    return worked(f"ROUGE-L of {name}", score, at("quality"))


_SMALL = ("base", "fine-tuned", "RAG")
"""The small ones over which fine-tuned + RAG is to be best."""


def _closest(by: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    """The row of the small one that comes closest."""
    rivals = [by[name] for name in _SMALL if name in by]
    if len(rivals) < len(_SMALL):
        raise NotThere("best_small_by")
    return min(rivals, key=lambda row: row["low_95"])


RAG = Section(
    "Documents",
    (
        Target(
            "retrieval-p50",
            "retrieval under 10 ms at the median for 100,000 chunks, hop included",
            "rag",
            at("retrieval_p50_ms"),
            below(10),
            Unit.MS,
            beside=(
                Beside("p99", at("retrieval_p99_ms"), Unit.MS),
                Beside("in process, both searches", at("hybrid_p50_ms"), Unit.MS),
                Beside("the index's recall of the exact ten", at("index_recall_at_10"), Unit.SHARE),
            ),
            how="Synthetic distractors with cached embeddings.",
        ),
        Target(
            "retrieval-chunks",
            "of at least 100,000 chunks",
            "rag",
            at("chunks"),
            at_least(100_000),
            Unit.COUNT,
            beside=(Beside("taken in, chunks", at("ingest_chunks_per_s"), Unit.RATE),),
        ),
        Target(
            "recall-hybrid",
            "recall@10 of both searches together at least that of either alone",
            "rag",
            _recall("hybrid"),
            at_least(worked("the better of the two alone", max, _recall("vector"), _recall("text"))),
            Unit.SHARE,
            beside=(
                Beside("sentence vectors", _recall("vector"), Unit.SHARE),
                Beside("full text", _recall("text"), Unit.SHARE),
            ),
        ),
        Target(
            "best-small",
            "fine-tuned + RAG the best of the small ones, by a margin outside the interval",
            "rag",
            worked(
                "low end of the interval over the closest rival", lambda by: _closest(by)["low_95"], at("best_small_by")
            ),
            above(0),
            Unit.DIFFERENCE,
            beside=tuple(
                Beside(name, _kind(name), Unit.SCORE)
                for name in ("base", "fine-tuned", "RAG", "fine-tuned + RAG", "large", "large + RAG")
            ),
            how="ROUGE-L on held-out questions; low end of the paired 95 % interval over the closest rival.",
        ),
    ),
)
