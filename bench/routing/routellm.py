"""RouteLLM's outcomes (gpt-4-1106-preview against Mixtral-8x7B): two tables (Ong et al. 2024, arXiv:2406.18665).

across        trained on one benchmark, tried on another, against the published rows, which saw no outcome of the test
              benchmark's rows either; each with what it was trained on.
out_of_fold   trained and tried on the same benchmark, each row scored by models that did not see it. Such models have
              thousands of labels of the test distribution, which the published routers had not: they are compared with
              baselines trained alike and, at 1,500 labels, only shown beside the published rows.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from sklearn.model_selection import StratifiedKFold

from bench.routing import outcomes as files
from bench.routing import vectors
from bench.routing.contenders import Ours
from bench.routing.intervals import figures
from bench.routing.outcomes import BENCHMARKS, Outcomes
from bench.routing.words import Words, classifier, subject_means
from serve_app.confidence.model import FloatArray
from serve_app.training.gain import Views, curve, fit_gain
from serve_app.training.gain.regression import Fit, IntArray

NUM_FOLDS = 5
TRAINING_SEEDS = 5
DRAWS = {True: 200, False: 2000}
"""Of the bootstrap, by whether the run is quick."""
FEW_LABELS = 1500
"""About as many as the `gold` rows of the paper had from MMLU's validation split."""


def run(folder: Path, scores: Path | None, quick: bool) -> dict[str, Any]:
    """All of it; with `scores`, the out-of-fold scores of `ours` go there as CSV, one file a benchmark."""
    sets = {name: files.read(folder, name) for name in (*BENCHMARKS, "mt_bench")}
    seen, skipped = _seen(sets, quick)
    found: dict[str, Any] = {"published": files.published(folder), "skipped": skipped, "out_of_fold": {}}
    for name in BENCHMARKS:
        found["out_of_fold"][name], ours = out_of_fold(sets[name], seen.get(name), quick)
        if scores is not None:
            write_scores(scores / f"{name}.csv", sets[name].ids, ours)
    found["probability_ms"] = latency(sets["gsm8k"], seen["gsm8k"])
    found["across"] = across(sets, seen, quick) if not skipped else {}
    return found


def out_of_fold(outcomes: Outcomes, seen: Views | None, quick: bool) -> tuple[dict[str, Any], FloatArray]:
    """One benchmark's table, and the scores of `ours` that it judges: means over fold seeds, for each contender."""
    words, seeds = Words(outcomes), range(1 if quick else 3)
    ours = Ours(outcomes, words, seen)
    runs = [_one_seed(outcomes, words, ours, seed) for seed in seeds]
    means = {name: np.mean([one[name] for one in runs], axis=0) for name in runs[0]}
    everything = np.arange(len(outcomes))
    found = figures(outcomes, means, everything, DRAWS[quick])
    for name in found:
        found[name]["apgr_by_seed"] = [outcomes.apgr(one[name]) for one in runs]
    few = _few_labels(outcomes, words, seen, num_draws=1 if quick else 5)
    return {
        "rows": len(outcomes),
        "contenders": found,
        "picked": dict(ours.picks),
        "few_labels": few,
        "curves": {name: _points(outcomes, means[name]) for name in means},
    }, means["ours"]


def across(sets: Mapping[str, Outcomes], seen: Mapping[str, Views], quick: bool) -> dict[str, Any]:
    """The served pre-router trained on one benchmark and tried on the others, beside length, which needs no training.

    It is the product's training, with its own choice of strength on its own training rows. The rule of that choice (one
    standard error) and the counts were settled with figures of both benchmarks in sight, so this is no blind test.
    `ours` is the mean of the scores of TRAINING_SEEDS trainings, which differ in folds and random waves.
    """
    plans = {"gsm8k": ("mmlu",), "mmlu": ("gsm8k",), "mt_bench": ("mmlu", "gsm8k")}
    found: dict[str, Any] = {}
    for name, sources in plans.items():
        tried = sets[name]
        rows = [row for source in sources for row in sets[source].rows(grouped=source == "mmlu" and len(sources) == 1)]
        views = Views(
            np.concatenate([seen[source].vectors for source in sources]),
            np.concatenate([seen[source].counts for source in sources]),
        )
        models = [fit_gain(rows, views, "bench", seed).model for seed in range(1 if quick else TRAINING_SEEDS)]
        runs = [Fit(model.arrays, model.intercept).scores(seen[name]) for model in models]
        scores = {"length": lengths(tried), "ours": np.mean(runs, axis=0)}
        found[name] = {
            "trained_on": list(sources),
            "strengths": [model.card["strength"] for model in models],
            "apgr_by_seed": [tried.apgr(one) for one in runs],
            **figures(tried, scores, np.arange(len(tried)), DRAWS[quick]),
        }
    return found


def latency(outcomes: Outcomes, seen: Views) -> dict[str, float]:
    """Of `GainModel.probability` alone, on prompts of this benchmark whose vectors are there; milliseconds."""
    model = fit_gain(outcomes.rows(), seen, "bench", seed=0).model
    took_ms = []
    for vector, text in zip(seen.vectors.astype(np.float32), outcomes.texts, strict=True):
        started_s = time.perf_counter()
        model.probability(vector, text)
        took_ms.append((time.perf_counter() - started_s) * 1e3)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "mean_chars": float(np.mean(lengths(outcomes)))}


def lengths(outcomes: Outcomes) -> FloatArray:
    """Characters of each prompt."""
    return np.array([float(len(text)) for text in outcomes.texts])


def write_scores(path: Path, ids: list[str], scores: FloatArray) -> None:
    """`id,score`, higher for the strong model, with all digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "score"])
        writer.writerows((name, repr(float(score))) for name, score in zip(ids, scores, strict=True))


def _seen(sets: Mapping[str, Outcomes], quick: bool) -> tuple[dict[str, Views], str | None]:
    """What the pre-router reads of each set, and why that of MMLU is missing where it is."""
    if quick and not vectors.known(sets["mmlu"]):
        reason = "The prompts of MMLU are not encoded yet, which takes minutes: run once without --quick."
        return {"gsm8k": vectors.read(sets["gsm8k"])}, reason
    return {name: vectors.read(found) for name, found in sets.items()}, None


def _one_seed(outcomes: Outcomes, words: Words, ours: Ours, seed: int) -> dict[str, FloatArray]:
    """Every contender's scores of all rows, out of fold."""
    found = {"length": lengths(outcomes)}
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(outcomes.gained, outcomes.gained)
    for train, test in track(list(folds), f"{outcomes.name}, folds of seed {seed}"):
        scored = dict(ours.scores(train, test, seed))
        scored["tfidf_lr"] = classifier(words.terms(train), outcomes.gained > 0, train, test)
        if outcomes.subjects.max() > 0:
            scored["subject_mean"] = subject_means(outcomes, train)[outcomes.subjects[test]]
        for name, values in scored.items():
            found.setdefault(name, np.empty(len(outcomes)))[test] = values
    return found


def _few_labels(outcomes: Outcomes, words: Words, seen: Views | None, num_draws: int) -> dict[str, Any]:
    """`ours` from FEW_LABELS random rows, tried on all others; nothing where the benchmark has not twice as many."""
    if len(outcomes) < 2 * FEW_LABELS:
        return {}
    values = []
    for seed in range(num_draws):
        order: IntArray = np.random.default_rng(seed).permutation(len(outcomes))
        train, test = np.sort(order[:FEW_LABELS]), np.sort(order[FEW_LABELS:])
        values.append(outcomes.apgr(Ours(outcomes, words, seen).scores(train, test, seed)["ours"], test))
    return {"labels": FEW_LABELS, "apgr": float(np.mean(values)), "apgr_by_draw": values}


def _points(outcomes: Outcomes, scores: FloatArray) -> dict[str, list[float]]:
    points = curve(scores, outcomes.small, outcomes.large)
    return {"share": points.share.tolist(), "quality": points.quality.tolist()}
