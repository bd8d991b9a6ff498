"""The two RouteLLM tables as text, for a terminal and for docs/routing.md."""

from __future__ import annotations

from typing import Any

from bench.routing.outcomes import BENCHMARKS

NAMES = {
    "ours": "**ours**, picked in each training fold",
    "words_and_trees": "ours: mean of trees and ridge regression",
    "trees": "ours: trees over counts, words and likely subject",
    "words_ridge": "ours: ridge regression of the gain on TF-IDF terms",
    "gain_model": "ours: the pre-router as served",
    "subject_mean": "mean gain of the subject (is told the subject)",
    "tfidf_lr": "TF-IDF + logistic regression",
    "length": "length of the prompt",
}


def out_of_fold(found: dict[str, Any]) -> str:
    """Markdown: each contender of each benchmark with its interval and ours minus it."""
    lines = [
        "| out of fold | router | APGR, 95 % | by fold seed | CPT 50 / 80 | ours minus it, paired 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for benchmark in BENCHMARKS:
        rows = found["out_of_fold"][benchmark]["contenders"]
        for name in sorted(rows, key=lambda key: (key != "ours", -rows[key]["apgr"])):
            row = rows[name]
            paired = "" if name == "ours" else f"{row['ours_minus']:+.3f} ({_signed(row['ours_minus_95'])})"
            lines.append(
                f"| {benchmark} | {NAMES[name]} | {_apgr(row)} | {_range(row['apgr_by_seed'])} "
                f"| {row['cpt50']:.1f} / {row['cpt80']:.1f} | {paired} |"
            )
    return "\n".join(lines)


def across(found: dict[str, Any]) -> str:
    """Markdown: the published rows and ours by APGR, the training data of each named."""
    lines = ["| tried on | router | trained on | APGR | CPT 50 / 80 |", "|---|---|---|---|---|"]
    for benchmark in (*BENCHMARKS, "mt_bench"):
        rows = [(row["apgr"], _published(row)) for row in found["published"] if row["benchmark"] == benchmark]
        own = found["across"].get(benchmark)
        if own is not None:
            trained = " + ".join(own["trained_on"])
            for name, router, data in (
                ("ours", "**ours**, as served", trained),
                ("length", NAMES["length"], "nothing"),
            ):
                row = own[name]
                seeds = f", by seed {_range(own['apgr_by_seed'])}" if name == "ours" else ""
                cells = f"{router} | {data} | {_apgr(row)}{seeds} | {row['cpt50']:.1f} / {row['cpt80']:.1f}"
                rows.append((row["apgr"], cells))
        lines += [f"| {benchmark} | {cells} |" for _, cells in sorted(rows, reverse=True)]
    return "\n".join(lines)


def _published(row: dict[str, Any]) -> str:
    data = "nothing" if row["training_data"] == "none" else row["training_data"]
    return f"{row['router']}, published | {data} | {row['apgr']:.3f} | {row['cpt50']:.1f} / {row['cpt80']:.1f}"


def _apgr(row: dict[str, Any]) -> str:
    low, high = row["apgr_95"]
    return f"{row['apgr']:.3f} ({low:.3f} to {high:.3f})"


def _range(values: list[float]) -> str:
    return f"{min(values):.3f}–{max(values):.3f}"


def _signed(interval: list[float]) -> str:
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"
