"""The router's classifiers on two public intent sets: BANKING77 (full, few-shot) and CLINC150 (abstention).

    OMP_NUM_THREADS=1 .venv/bin/python -m bench.routing.intents [--quick]      writes bench/results/intents.json

The encoder is the one that serves (all-minilm-l6-v2, int8), frozen; only classifiers are fitted. Their settings were
chosen on held-out rows of the two training files, never on test rows. CLINC150: temperature and floor come from the
known rows of the validation split; rows out of scope are seen in testing only, except where a row says `oos_trained`.
What limits it: both sets are English, short and from crowd workers, and a share of BANKING77's labels is known to be
wrong; few-shot draws are ours, not those of the papers beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

from bench import machine
from bench.machine import DATA
from serve_app.catalogue import resolve
from serve_app.encoder import Encoder
from serve_app.router import Row
from serve_app.router.classifier import Model, calibrated
from serve_app.router.domain import FALLBACK_LABEL
from serve_app.router.metrics import wilson
from serve_app.training.router import CLASSIFIERS
from serve_app.training.router.calibrate import fit_temperature, floor_for, rejected
from serve_app.training.router.data import IntArray, TrainingSet, encoded, label_rows, silent
from serve_app.training.router.folds import predict

OUT_OF_SCOPE = "oos"
FALSE_REJECTIONS = (0.05, 0.02)
SHOTS = (5, 10)
FULL = ("tfidf", "linear", "network", "neighbours", "mixture", "kernel")
"""Compared on the full sets; `kernel` is the one to choose for many labels."""

PUBLISHED = (
    {"set": "banking77", "rows": "full", "model": "USE + ConveRT", "accuracy": 93.36,
     "source": "Casanueva et al. 2020"},
    {"set": "banking77", "rows": "10-shot", "model": "USE + ConveRT", "accuracy": 85.19,
     "source": "Casanueva et al. 2020"},
    {"set": "banking77", "rows": "full", "model": "BERT-large, tuned", "accuracy": 93.66,
     "source": "Casanueva et al. 2020"},
    {"set": "banking77", "rows": "10-shot", "model": "BERT-large, tuned", "accuracy": 83.42,
     "source": "Casanueva et al. 2020"},
    {"set": "banking77", "rows": "10-shot", "model": "CPFT (RoBERTa-base, contrastive on five intent sets)",
     "accuracy": 87.20, "source": "Zhang et al. 2021"},
    {"set": "banking77", "rows": "5-shot", "model": "CPFT (RoBERTa-base, contrastive on five intent sets)",
     "accuracy": 80.86, "source": "Zhang et al. 2021"},
    {"set": "clinc150", "rows": "full", "model": "USE + ConveRT (150 intents, no out-of-scope rows)", "accuracy": 97.16,
     "source": "Casanueva et al. 2020"},
    {"set": "clinc150", "rows": "full", "model": "BERT, threshold", "accuracy": 96.2, "out_of_scope_recall": 52.3,
     "source": "Larson et al. 2019"},
    {"set": "clinc150", "rows": "full", "model": "BERT, trained on out-of-scope rows", "accuracy": 96.9,
     "out_of_scope_recall": 40.3, "source": "Larson et al. 2019"},
    {"set": "clinc150", "rows": "full", "model": "MLP on USE, threshold", "accuracy": 93.4,
     "out_of_scope_recall": 49.1, "source": "Larson et al. 2019"},
)  # fmt: skip
SOURCES = {
    "Casanueva et al. 2020": "Efficient Intent Detection with Dual Sentence Encoders, arXiv:2003.04807, table 3",
    "Zhang et al. 2021": "Few-Shot Intent Detection via Contrastive Pre-Training and Fine-Tuning, arXiv:2109.06349",
    "Larson et al. 2019": "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction, "
    "arXiv:1909.02027, table 2; its false rejections are not stated, the threshold was the best on validation rows",
}


def run(quick: bool) -> dict[str, Any]:
    """All figures; `quick` fits one classifier a set, three draws, and CLINC150's small split (50 rows a label)."""
    encoder = Encoder(resolve("all-minilm-l6-v2").path)
    return {
        "banking77": banking77(encoder, quick),
        "clinc150": clinc150(encoder, quick),
        "published": PUBLISHED,
        "sources": SOURCES,
    }


def banking77(encoder: Encoder, quick: bool) -> dict[str, Any]:
    """Accuracy on the 3,080 test rows: from all training rows, and from draws of 5 and 10 rows a label."""
    train, test = (_encoded(_rows("banking77", name), encoder) for name in ("train", "test"))
    names = encoded(label_rows(train.names), encoder, silent)
    full = {name: _accuracy(name, train, test) for name in (("kernel",) if quick else FULL)}
    few = {
        f"{shots}_shot": {
            name: _draws(name, train, test, names if name == "few-shot" else None, shots, 3 if quick else 10)
            for name in ("linear", "few-shot")
        }
        for shots in SHOTS
    }
    return {"full": full} | few


def _accuracy(name: str, train: TrainingSet, test: TrainingSet) -> dict[str, Any]:
    started_s = time.perf_counter()
    model = CLASSIFIERS[name].fit(train, 0)
    fit_s = time.perf_counter() - started_s
    num_right = int((predict(model, test).argmax(axis=1) == test.labels).sum())
    return _share(num_right, len(test)) | {"fit_s": round(fit_s, 1)}


def _draws(
    name: str, train: TrainingSet, test: TrainingSet, names: TrainingSet | None, shots: int, num_draws: int
) -> dict[str, Any]:
    """Mean accuracy over draws; the interval holds both what the draw and what the test rows leave open."""
    found = []
    for draw in range(num_draws):
        data = train.where(_drawn(train, shots, draw))
        model = CLASSIFIERS[name].fit(data if names is None else data.joined(names), draw)
        found.append(float((predict(model, test).argmax(axis=1) == test.labels).mean()))
    mean, spread = float(np.mean(found)), float(np.std(found, ddof=1))
    of_draws = float(stats.t.ppf(0.975, num_draws - 1)) * spread / math.sqrt(num_draws)
    of_rows = float(stats.norm.ppf(0.975)) * math.sqrt(mean * (1 - mean) / len(test))
    half = math.hypot(of_draws, of_rows)
    return {"mean": mean, "interval_95": [mean - half, mean + half], "sd": spread, "draws": found}


def _drawn(train: TrainingSet, shots: int, draw: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """So many rows of each label, without replacement."""
    random, kept = np.random.default_rng(draw), np.zeros(len(train), dtype=np.bool_)
    for label in range(len(train.names)):
        kept[random.choice(np.flatnonzero(train.labels == label), shots, replace=False)] = True
    return kept


def clinc150(encoder: Encoder, quick: bool) -> dict[str, Any]:
    """In-scope accuracy on 4,500 test rows, and how many of the 1,000 rows out of scope are found."""
    train, valid, test = (_encoded(_rows("clinc150", name), encoder) for name in ("train", "val", "test"))
    if quick:
        train = train.where(_drawn(train, 50, 0))
    known = _known(train)
    names = ("kernel",) if quick else FULL
    found = {name: _abstention(CLASSIFIERS[name].fit(known, 0), known.names, valid, test) for name in names}
    found["kernel, oos_trained"] = _abstention(CLASSIFIERS["kernel"].fit(train, 0), train.names, valid, test)
    return {"rows_a_label": 50 if quick else 100} | found


def _known(train: TrainingSet) -> TrainingSet:
    """The rows in scope, and no label for the others."""
    unknown = train.names.index(FALLBACK_LABEL)
    rows = train.where(train.labels != unknown)
    names = tuple(name for name in rows.names if name != FALLBACK_LABEL)
    return replace(rows, labels=rows.labels - (rows.labels > unknown), names=names)


def _abstention(model: Model, names: tuple[str, ...], valid: TrainingSet, test: TrainingSet) -> dict[str, Any]:
    """Temperature and floor from the rows of `valid` in scope; `names` are the model's labels."""
    fallback = names.index(FALLBACK_LABEL) if FALLBACK_LABEL in names else None
    tuning = _known(valid)
    tuning_labels = _indexed(tuning, names)
    raw = predict(model, tuning)
    temperature = fit_temperature(raw, tuning_labels)
    tuned, given = calibrated(raw, temperature), calibrated(predict(model, test), temperature)
    known = np.array([test.names[label] != FALLBACK_LABEL for label in test.labels])
    right = given.argmax(axis=1) == _indexed(test, names)
    best = np.delete(given, fallback, axis=1).max(axis=1) if fallback is not None else given.max(axis=1)
    found: dict[str, Any] = {
        "in_scope": _share(int(right[known].sum()), int(known.sum())),
        "auroc": float(roc_auc_score(known, best)),
    }
    for share in FALSE_REJECTIONS:
        floor = floor_for(tuned, tuning_labels, fallback, share)
        gone = rejected(given, floor, fallback)
        found[f"at_{share:g}"] = {
            "floor": floor,
            "out_of_scope_recall": _share(int(gone[~known].sum()), int((~known).sum())),
            "false_rejection": _share(int(gone[known].sum()), int(known.sum())),
            "in_scope": _share(int((right & ~gone)[known].sum()), int(known.sum())),
        }
    return found


def _indexed(data: TrainingSet, names: tuple[str, ...]) -> IntArray:
    """Its labels as places in `names`; -1 for one that is not there."""
    place_of = np.array([names.index(name) if name in names else -1 for name in data.names], dtype=np.intp)
    return place_of[data.labels]


def _share(num: int, of: int) -> dict[str, Any]:
    return {"value": num / of, "interval_95": list(wilson(num, of)), "rows": of}


def _rows(name: str, split: str) -> list[Row]:
    """The split's rows; rows out of scope get the router's fallback label."""
    lines = (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [Row(found["text"], found["label"]) for found in map(json.loads, lines)]
    return [replace(row, label=FALLBACK_LABEL) if row.label == OUT_OF_SCOPE else row for row in rows]


def _encoded(rows: Sequence[Row], encoder: Encoder) -> TrainingSet:
    return encoded(rows, encoder, silent)


def report(found: dict[str, Any]) -> None:
    """Tables for people."""
    for name, row in found["banking77"]["full"].items():
        print(f"banking77 full      {name:24}{_percent(row)}")
    for shots in SHOTS:
        for name, row in found["banking77"][f"{shots}_shot"].items():
            low, high = row["interval_95"]
            print(
                f"banking77 {shots:2}-shot   {name:24}{row['mean']:.1%} ({low:.1%} to {high:.1%}), sd {row['sd']:.1%}"
            )
    for name, row in found["clinc150"].items():
        if isinstance(row, dict):
            at = row["at_0.05"]
            print(
                f"clinc150            {name:24}{_percent(row['in_scope'])}, out-of-scope recall "
                f"{_percent(at['out_of_scope_recall'])} at {at['false_rejection']['value']:.1%} turned away"
            )


def _percent(row: dict[str, Any]) -> str:
    low, high = row["interval_95"]
    return f"{row['value']:.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "intents.json")
    wanted = parser.parse_args()
    found = {"machine": machine.describe("numpy", "scikit-learn", "onnxruntime")} | run(wanted.quick)
    wanted.out.write_text(json.dumps(found, indent=1) + "\n")
    report(found)
    print(json.dumps({"bench": "intents", "out": str(wanted.out)}))


if __name__ == "__main__":
    main()
