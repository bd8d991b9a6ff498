"""Measures the shipped router: accuracy in and out of distribution, calibration, latency, beside two baselines.

    OMP_NUM_THREADS=1 .venv/bin/python -m bench.router            writes bench/results/router.json
    ... --retrain        adds each source left out, and fits with fewer of our own texts (minutes)

What limits it: labels are those of a text's source, so some are wrong (see shared data, routing/SOURCE.txt); the lay
set was written by the people who wrote the lay training set, though apart from it; latency is of this machine and load.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bench import machine
from bench.machine import REPO
from serve_app.catalogue import resolve
from serve_app.core import Message
from serve_app.encoder import Encoder
from serve_app.router import DomainRouter, Row, evaluate, read_rows, shipped
from serve_app.router.artifact import num_bytes, write
from serve_app.router.metrics import precision_at_prior, summary, wilson
from serve_app.training.router import CLASSIFIERS, Abstention
from serve_app.training.router.data import TrainingSet as Encoded
from serve_app.training.router.data import encoded
from serve_app.training.router.folds import out_of_fold, predict
from serve_app.training.router.train import train_on

DATA = machine.DATA / "routing"
LAY_TEST = REPO / "tests" / "data" / "router_lay_test.jsonl"
LAY_TRAIN = [REPO / "serve_app" / "training" / "data" / f"router_{name}.jsonl" for name in ("lay", "glossary", "exam")]
PUBLIC_TRAIN = DATA / "train.jsonl"
KNOWN_TOPICS = re.compile(
    r"hearsay|second-hand statement|overheard|told me admissible|jurisdiction|minimum contacts|standing|venue transfer"
    r"|private (right|citizens)|same state sue|distinctive|generic word|merely describes|diversity of|trademark"
    r"|which state can i sue|federal (or state )?court|covid|virus|mask|isolate|quarantine|pandemic|antibod|vaccin"
    r"|herd immun|booster|infected|asymptomatic|remdesivir|hydroxychloroquine|immunity|social distancing|hand hygiene"
    r"|washing hands|positive|wordpress|oracle|subversion|svn|apache|excel|matlab|visual studio|cocoa|objective-c"
    r"|ios view|uikit|xcode|bash|spark|hibernate|orm mapping|scala|sharepoint|ajax|\bqt\b|drupal|linq|haskell|magento"
    r"|vba|spring bean",
    re.IGNORECASE,
)
"""Subjects of the sources of test_ood: LegalBench tasks, COVID-QA, the tags of the Stack Overflow titles."""
SHIPPED_KIND = CLASSIFIERS["mixture"]
PRIOR = {"general": 0.7, "legal": 0.1, "medical": 0.1, "code": 0.1}
LENGTHS_TOKENS = (20, 60, 128)
_ONE_TOKEN_WORDS = re.findall(
    r"\w+", "my the landlord doctor code river wants to keep all of our money until next summer and then leave"
)


def main() -> None:
    """Run all measurements, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retrain", action="store_true", help="add the figures that need other fits")
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results" / "router.json")
    wanted = parser.parse_args()
    encoder = Encoder(resolve("all-minilm-l6-v2").path, threads=1)
    router = DomainRouter.load(shipped(), encoder)
    sets = {name: read_rows(DATA / f"{name}.jsonl") for name in ("test", "test_ood")} | {"lay": read_rows(LAY_TEST)}
    found: dict[str, Any] = {
        "machine": machine.describe("numpy", "onnxruntime", "scikit-learn"),
        "artifact": artifact_card(router),
        "router": {},
        "baselines": {},
    }
    for name, rows in sets.items():
        found["router"][name] = accuracy(router, rows)
        found["router"][f"{name}_normalised"] = accuracy(router, [replace(row, text=plain(row.text)) for row in rows])
    found["latency_ms"] = latency(router, encoder, sets["lay"])
    found["baselines"] = baselines(read_rows(PUBLIC_TRAIN), sets)
    if wanted.retrain:
        train = TrainingSet(encoder)
        found["leave_one_source_out"] = leave_one_source_out(train)
        found["test_ood_with_fewer_texts"] = fewer_texts(encoder, train, sets["test_ood"])
        found["classifiers"] = classifiers(encoder, train, sets)
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(found, indent=1) + "\n")
    report(found)


def artifact_card(router: DomainRouter) -> dict[str, Any]:
    """Which weights were measured."""
    files = sorted(path for path in shipped().iterdir() if path.suffix in {".safetensors", ".json"})
    return {
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "num_bytes": sum(path.stat().st_size for path in files),
        "floor": router.floor,
        "data": router.card["data"],
        "seed": router.card["seed"],
    }


def plain(text: str) -> str:
    """Lower case, no punctuation: what is left when source style is taken away."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", text.lower()).split()) or text


def accuracy(router: DomainRouter, rows: list[Row]) -> dict[str, Any]:
    """`evaluate` without its latency (the everyday mix has its own), with precision at a realistic prior."""
    figures = evaluate(router, rows)
    figures["precision_at_70_percent_general"] = precision_at_prior(figures["confusion"], PRIOR, sorted(PRIOR))
    return {key: value for key, value in figures.items() if key not in ("p50_ms", "p99_ms")}


def latency(router: DomainRouter, encoder: Encoder, lay: list[Row]) -> dict[str, Any]:
    """p50 and p99 of `await router.score`, nothing cached, by length and on the everyday mix; cached apart."""
    groups = {f"{length}_tokens": [words(length, start) for start in range(200)] for length in LENGTHS_TOKENS}
    groups["everyday_mix"] = [row.text for row in lay]
    found: dict[str, Any] = {name: asyncio.run(timed(router, texts)) for name, texts in groups.items()}
    found["everyday_mix_cached"] = asyncio.run(timed(router, groups["everyday_mix"]))
    started_s = time.perf_counter()
    encoder.encode(groups["everyday_mix"])
    found["encoder_alone_mean"] = (time.perf_counter() - started_s) * 1e3 / len(lay)
    return found


async def timed(router: DomainRouter, texts: list[str]) -> dict[str, float]:
    """Milliseconds of one query after another."""
    took_ms = []
    for text in texts:
        started_s = time.perf_counter()
        await router.score((Message("user", text),))
        took_ms.append((time.perf_counter() - started_s) * 1e3)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "queries": len(texts)}


def words(num_tokens: int, start: int) -> str:
    """A text of that many tokens, different for each `start`."""
    step = 1 + start % 5
    picked = [_ONE_TOKEN_WORDS[(start * 7 + index * step) % len(_ONE_TOKEN_WORDS)] for index in range(num_tokens - 1)]
    return " ".join([*picked, str(start)])


def baselines(train: list[Row], sets: dict[str, list[Row]]) -> dict[str, Any]:
    """Word counts with logistic regression, and the commonest label, both from train.jsonl alone."""
    majority = Counter(row.label for row in train).most_common(1)[0][0]
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=300)
    )
    model.fit([row.text for row in train], [row.label for row in train])
    found: dict[str, Any] = {"tfidf_lr": {}, "majority": {}}
    for name, rows in sets.items():
        probabilities = model.predict_proba([row.text for row in rows])
        predicted = [str(label) for label in model.classes_[probabilities.argmax(axis=1)]]
        truth, sources = [row.label for row in rows], [row.source for row in rows]
        found["tfidf_lr"][name] = brief(summary(truth, predicted, probabilities.max(axis=1).tolist(), sources))
        found["majority"][name] = brief(summary(truth, [majority] * len(rows), [1.0] * len(rows), sources))
    return found


def brief(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures that a baseline is judged by."""
    return {key: figures[key] for key in ("accuracy", "accuracy_95", "macro_source", "ece")}


class TrainingSet:
    """The shipped router's training rows, encoded."""

    def __init__(self, encoder: Encoder) -> None:
        tagged = [(path == PUBLIC_TRAIN, row) for path in (PUBLIC_TRAIN, *LAY_TRAIN) for row in read_rows(path)]
        self.public = np.array([public for public, _ in tagged])
        self.rows = [row for _, row in tagged]
        self.data = encoded(self.rows, encoder, silent)


def silent(stage: str, done: int, total: int) -> None:
    """No progress bar."""


def leave_one_source_out(train: TrainingSet) -> dict[str, Any]:
    """Accuracy on each source of train.jsonl from a fit that saw none of it (the lay sets stay in)."""
    keys = [(row.label, row.source) if public else None for row, public in zip(train.rows, train.public, strict=True)]
    groups = sorted({key for key in keys if key is not None}, key=str)
    folds = np.array([-1 if key is None else groups.index(key) for key in keys])
    mixtures = out_of_fold(train.data, folds, lambda data: SHIPPED_KIND.fit(data, 0), lambda: None)
    right = mixtures.argmax(axis=1) == train.data.labels
    by_source = {f"{label}/{source}": float(right[folds == fold].mean()) for fold, (label, source) in enumerate(groups)}
    return {"by_source": by_source, "macro_source": float(np.mean(list(by_source.values())))}


def fewer_texts(encoder: Encoder, train: TrainingSet, tested: list[Row]) -> dict[str, Any]:
    """test_ood without part of our own texts: how much of its figure they are worth.

    Our texts were written by someone who knew which sources test_ood has, if not its rows; `without_known_topics` drops
    every text of ours that touches their subjects.
    """
    known = np.array([KNOWN_TOPICS.search(row.text) is not None for row in train.rows])
    glossary, exam = (np.array([row.source == source for row in train.rows]) for source in ("glossary", "exam"))
    kept = {
        "without_known_topics": train.public | ~known,
        "without_glossary": train.public | ~glossary,
        "without_exam": train.public | ~exam,
        "public_train_only": train.public,
    }
    test = encoded(tested, encoder, silent)
    return {name: refit(train, keep, test, tested) for name, keep in kept.items()}


def refit(train: TrainingSet, keep: Any, test: Encoded, tested: list[Row]) -> dict[str, Any]:
    """Figures of a fit on the rows in `keep`, uncalibrated and without a floor."""
    probabilities = predict(SHIPPED_KIND.fit(train.data.where(keep), 0), test)
    predicted = [train.data.names[index] for index in probabilities.argmax(axis=1)]
    truth, sources = [row.label for row in tested], [row.source for row in tested]
    figures = brief(summary(truth, predicted, probabilities.max(axis=1).tolist(), sources))
    del figures["ece"]  # uncalibrated
    return figures | {"rows_dropped": int((~keep).sum())}


def classifiers(encoder: Encoder, train: TrainingSet, sets: dict[str, list[Row]]) -> dict[str, Any]:
    """Every classifier that `headrace router train` knows, from the shipped router's rows, by the same floor rule."""
    found: dict[str, Any] = {}
    for name in CLASSIFIERS:
        trained = train_on(train.data, encoder, name, 0, Abstention(), silent)
        router = DomainRouter(trained.artifact, encoder)
        with tempfile.TemporaryDirectory() as folder:
            write(trained.artifact, Path(folder))
            size = num_bytes(Path(folder))
        figures = {}
        for key, rows in sets.items():
            scores = router.score_texts([row.text for row in rows])
            hits = [score.label == row.label for score, row in zip(scores, rows, strict=True)]
            figures[key] = {"accuracy": float(np.mean(hits)), "accuracy_95": list(wilson(sum(hits), len(hits)))}
        speed = asyncio.run(timed(router, [row.text for row in sets["lay"]]))
        found[name] = figures | {"floor": router.floor, "num_bytes": size, "everyday_mix_ms": speed}
        router.close()
    return found


def report(found: dict[str, Any]) -> None:
    """A table for people, then one JSON line for programs."""
    print(f"{'set':22}{'accuracy':>9}  {'95 %':14}{'by source':>10}{'ECE':>7}   TF-IDF+LR  majority")
    for name, figures in found["router"].items():
        low, high = figures["accuracy_95"]
        line = f"{name:22}{figures['accuracy']:9.3f}  {low:.3f}-{high:.3f} "
        line += f"{figures['macro_source']:12.3f}{figures['ece']:7.3f}"
        if name in found["baselines"]["majority"]:
            line += "".join(f"{found['baselines'][kind][name]['accuracy']:11.3f}" for kind in ("tfidf_lr", "majority"))
        print(line)
    short = {name: figures["accuracy"] for name, figures in found["router"].items()}
    print(json.dumps({"bench": "router", "router": short, "latency_ms": found["latency_ms"]}))


if __name__ == "__main__":
    main()
