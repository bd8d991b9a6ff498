"""The semantic cache on questions whose right answer is known: hits and errors by threshold, and is the risk kept?

    python -m bench.semantic_cache [--draws 200] [--questions N]      writes bench/results/semantic_cache.json

Each set has a store, the questions asked before, and new questions, each compared with the nearest one stored. What
counts as the same answer:

    banking77      the same of 77 intents: a PROXY, as a help desk with one text for each intent would answer
    nq_open        an accepted short answer in common (lower case, no punctuation, no articles)
    webquestions   likewise; its answers come from Freebase, and some are wrong
    medquad        the same disease and kind of question; no disease is on both sides, so that EVERY hit is wrong: what
                   a store of look-alikes does
    mixed          all four stores as one, all questions

Risk control is judged over draws: a third of the questions calibrates, all others judge. The store stays the same, so
that the pairs of a question and its nearest neighbour are independent draws, as the guarantee wants them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom, binomtest

from bench import machine
from bench.machine import DATA
from serve_app.cache import Recording, ResponseCache
from serve_app.cache.encoded import EncoderVectors
from serve_app.cache.fitting import DESIGN_SHARE, Fitted, fit
from serve_app.cache.likeness import signature
from serve_app.cache.neighbours import Neighbours
from serve_app.cache.pairs import NEVER, FloatArray
from serve_app.catalogue import resolve
from serve_app.catalogue.cache import cache_dir
from serve_app.confidence.risk import Chosen, empirical
from serve_app.config.cache import CacheSettings
from serve_app.core import Answer, Attempt, Delta, Message, Query, SamplingParams, TokenStat, Usage

ENCODER = "all-minilm-l6-v2"
THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
ALPHAS = (0.02, 0.05, 0.1)
DELTA = 0.1
CALIBRATION_SHARE = 1 / 3
FIXED = 0.9
"""A threshold that nobody measured, for comparison."""

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Question:
    """A text and the answers that it may have: two questions have the same answer where these meet."""

    text: str
    answers: frozenset[str]


@dataclass(frozen=True)
class Asked:
    """What the new questions of one set found, arrays (num_questions,)."""

    similarity: FloatArray
    """To the nearest stored question that may be compared; NEVER where there is none."""
    same: BoolArray
    plain_similarity: FloatArray
    """Likewise without the rule about numbers and negations."""
    plain_same: BoolArray


def main() -> None:
    """Encode, compare, fit, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--questions", type=int, default=None, help="of each side of each set; default: all")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "semantic_cache.json")
    wanted = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe("onnxruntime", "numpy"), "encoder": ENCODER, "delta": DELTA}
    vectors = EncoderVectors(resolve(ENCODER).path)
    sides = {name: (store[: wanted.questions], new[: wanted.questions]) for name, (store, new) in read_sets().items()}
    stored = [one for store, _ in sides.values() for one in store]
    sides["mixed"] = (stored, [one for _, new in sides.values() for one in new])
    known, found["encode_ms"] = encoded({one.text for store, new in sides.values() for one in (*store, *new)}, vectors)
    found["sets"] = {}
    for name, (store, new) in sides.items():
        asked = nearest(store, new, known)
        found["sets"][name] = {
            "stored": len(store),
            "questions": len(new),
            "asked_before_word_for_word": len({one.text for one in store} & {one.text for one in new}) / len(new),
            "by_threshold": [at_threshold(asked, threshold) for threshold in THRESHOLDS],
            "risk": {f"{alpha:g}": judged(asked, alpha, wanted.draws) for alpha in ALPHAS},
        }
    found["speed"] = asyncio.run(speed(vectors))
    wanted.out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def read_sets() -> dict[str, tuple[list[Question], list[Question]]]:
    """Name -> store, new questions."""
    return {
        "banking77": (
            _rows("banking77/train.jsonl", "text", _intent),
            _rows("banking77/test.jsonl", "text", _intent),
        ),
        "nq_open": (
            _rows("nq_open/dev.jsonl", "question", _short_answers),
            _rows("nq_open/test.jsonl", "question", _short_answers),
        ),
        "webquestions": (
            _rows("webquestions/train.jsonl", "question", _short_answers),
            _rows("webquestions/val.jsonl", "question", _short_answers)
            + _rows("webquestions/test.jsonl", "question", _short_answers),
        ),
        "medquad": (
            _rows("medquad/train.jsonl", "question", _topic),
            _rows("medquad/val.jsonl", "question", _topic) + _rows("medquad/test.jsonl", "question", _topic),
        ),
    }


def _intent(row: dict[str, Any]) -> list[str]:
    return [row["label"]]


def _rows(name: str, field: str, answers: Callable[[dict[str, Any]], Sequence[str]]) -> list[Question]:
    rows = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    source = name.partition("/")[0]
    found = [Question(row[field].strip(), frozenset(f"{source} {one}" for one in answers(row))) for row in rows]
    return [one for one in found if one.text]


def _short_answers(row: dict[str, Any]) -> list[str]:
    texts = [re.sub(r"\b(a|an|the)\b|[^\w\s]", " ", answer.lower()) for answer in row["answers"]]
    return [" ".join(text.split()) for text in texts]


def _topic(row: dict[str, Any]) -> list[str]:
    return [f"{row['focus']} {row['qtype']}".lower()]


def encoded(texts: set[str], vectors: EncoderVectors) -> tuple[dict[str, Any], float]:
    """Text -> vector, and the milliseconds of one. Kept in the user's cache folder: 25,000 texts take minutes."""
    ordered = sorted(texts)
    digest = hashlib.sha256("\0".join([vectors.digest, *ordered]).encode()).hexdigest()
    path = cache_dir() / "bench" / f"semantic-cache-{digest[:16]}.npy"
    if not path.is_file():
        made = [vectors.vectors([text])[0] for text in track(ordered, "Encoding")]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npy")
        dimension = next(len(vector) for vector in made if vector is not None)
        np.save(partial, np.stack([np.zeros(dimension, np.float32) if vector is None else vector for vector in made]))
        partial.replace(path)
    table = np.load(path)
    started_s = time.perf_counter()
    vectors.vectors(ordered[:200])
    encode_ms = (time.perf_counter() - started_s) * 1000 / len(ordered[:200])
    return {text: vector if vector.any() else None for text, vector in zip(ordered, table, strict=True)}, encode_ms


def nearest(store: Sequence[Question], new: Sequence[Question], known: dict[str, Any]) -> Asked:
    """Each new question and the stored one whose answer it would get, with and without the rule of likeness.py."""
    columns: list[list[Any]] = [[], []]
    contexts: tuple[Callable[[str], str], ...] = (lambda text: repr(signature(text)), lambda text: "")
    for column, context_of in zip(columns, contexts, strict=True):
        bank = Neighbours(len(store))
        for index, one in enumerate(store):
            if known[one.text] is not None:
                bank.add(context_of(one.text), str(index), known[one.text])
        for one in new:
            vector = known[one.text]
            near = None if vector is None else bank.nearest(context_of(one.text), vector)
            if near is None:
                column.append((NEVER, False))
            else:
                column.append((near[1], bool(one.answers & store[int(near[0])].answers)))
    guarded, plain = (
        (np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=bool)) for rows in columns
    )
    return Asked(*guarded, *plain)


def at_threshold(asked: Asked, threshold: float) -> dict[str, Any]:
    """Hits and errors at one threshold."""
    hits, plain_hits = asked.similarity > threshold, asked.plain_similarity > threshold
    num_hits, num_wrong = int(hits.sum()), int((hits & ~asked.same).sum())
    plain_wrong = int((plain_hits & ~asked.plain_same).sum())
    interval = binomtest(num_wrong, num_hits).proportion_ci(method="exact") if num_hits else None
    return {
        "threshold": threshold,
        "hit_share": num_hits / len(hits),
        "hits": num_hits,
        "wrong_of_hits": num_wrong / num_hits if num_hits else None,
        "wrong_95": [round(float(interval.low), 4), round(float(interval.high), 4)] if interval else None,
        "hit_share_without_likeness": int(plain_hits.sum()) / len(hits),
        "wrong_of_hits_without_likeness": plain_wrong / int(plain_hits.sum()) if plain_hits.any() else None,
    }


def judged(asked: Asked, alpha: float, draws: int) -> dict[str, Any]:
    """Three rules over draws of calibration and judgement."""
    rng = np.random.default_rng(0)
    num = len(asked.same)
    tallies: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(draws):
        order = rng.permutation(num)
        calibration, rest = np.split(order, [round(CALIBRATION_SHARE * num)])
        for rule, threshold in thresholds(asked, calibration, alpha).items():
            hits = rest[asked.similarity[rest] > threshold] if threshold is not None else rest[:0]
            num_wrong = int((~asked.same[hits]).sum())
            tallies[rule]["kept"].append(num_wrong <= alpha * len(hits))
            tallies[rule]["hit_share"].append(len(hits) / len(rest))
            tallies[rule]["answers"].append(threshold is not None)
            if len(hits):
                tallies[rule]["risk"].append(num_wrong / len(hits))
    return {rule: _summary(tally, draws) for rule, tally in tallies.items()}


def thresholds(asked: Asked, rows: np.ndarray[Any, Any], alpha: float) -> dict[str, float | None]:
    """What each rule chooses from these labelled rows; None: it refuses."""
    similarity, same = asked.similarity[rows], asked.same[rows]
    design = np.arange(len(rows)) < round(DESIGN_SHARE * len(rows))  # the rows come shuffled
    tested = fit(similarity, same, alpha, DELTA, design)
    every = np.unique(similarity[similarity > NEVER])[::-1]
    usual = empirical(similarity > every[:, None], ~same, alpha)
    return {
        "learn_then_test": tested.threshold if isinstance(tested, Fitted) else None,
        "empirical": float(every[usual.index]) if isinstance(usual, Chosen) else None,
        f"fixed_{FIXED:g}": FIXED,
    }


def _summary(tally: dict[str, list[float]], draws: int) -> dict[str, Any]:
    kept = np.array(tally["kept"])
    interval = binomtest(int(kept.sum()), draws).proportion_ci(method="exact")
    return {
        "kept": float(kept.mean()),
        "kept_95": [round(float(interval.low), 3), round(float(interval.high), 3)],
        "kept_where_it_answers": float(kept[np.array(tally["answers"], dtype=bool)].mean())
        if any(tally["answers"])
        else None,
        "draws_that_answer": int(sum(tally["answers"])),
        "hit_share": float(np.mean(tally["hit_share"])),
        "risk": float(np.mean(tally["risk"])) if tally["risk"] else None,
        "least_kept_by_chance": float(binom.ppf(0.025, draws, 1 - DELTA) / draws),
    }


async def speed(vectors: EncoderVectors) -> dict[str, float]:
    """Microseconds of a look-up and bytes of an answer of 200 tokens."""
    cache = ResponseCache(CacheSettings(enabled=True, max_mb=512))
    query = Query("q", "auto", SamplingParams(), (Message("user", "What is the capital of France, and why? " * 4),))
    recording = Recording(1)
    recording.add(0, Delta(" word" * 200, tuple(TokenStat(1, " word", -0.1, 0.2, 1.0) for _ in range(200)), "stop"))
    attempt = Attempt("specialists", "small", None, "accepted", Usage(60, 0, 200), 100.0)
    kept = recording.answer(Answer("q", 1.0, "auto", "accepted", (attempt,)))
    assert kept is not None
    lookup = cache.lookup(query, 1, "f")
    assert lookup is not None
    cache.put(lookup, kept)
    bank, rng = Neighbours(20_000), np.random.default_rng(0)
    points = rng.normal(size=(20_000, 384)).astype(np.float32)
    for index, point in enumerate(points):
        bank.add("c", str(index), point)
    return {
        "lookup_us": _microseconds(lambda: cache.lookup(query, 1, "f"), 2000),
        "exact_hit_us": await _find_us(cache, lookup),
        "deltas_us": _microseconds(lambda: kept.choices[0].delta(), 500),
        "put_us": _microseconds(lambda: cache.put(lookup, kept), 2000),
        "nearest_of_20000_us": _microseconds(lambda: bank.nearest("c", points[7]), 200),
        "bytes_of_200_tokens": kept.num_bytes,
    }


async def _find_us(cache: ResponseCache, lookup: Any) -> float:
    taken = []
    for _ in range(2000):
        started_s = time.perf_counter()
        await cache.find(lookup)
        taken.append(time.perf_counter() - started_s)
    return float(np.median(taken)) * 1e6


def _microseconds(work: Callable[[], object], times: int) -> float:
    """Median of one call."""
    taken = []
    for _ in range(times):
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return float(np.median(taken)) * 1e6


def show(found: dict[str, Any]) -> None:
    """Two tables that fit a narrow terminal."""
    console = Console()
    curve = Table("similarity", *found["sets"], title="hits / wrong of the hits")
    for place, threshold in enumerate(THRESHOLDS):
        rows = [one["by_threshold"][place] for one in found["sets"].values()]
        curve.add_row(f"> {threshold:g}", *(_hits_and_errors(row) for row in rows))
    kept = Table("set", "alpha", "rule", "kept", "hits", "risk", "answers", title="risk over draws")
    for name, one in found["sets"].items():
        for alpha, rules in one["risk"].items():
            for rule, row in rules.items():
                figures = (f"{row['kept']:.1%}", f"{row['hit_share']:.1%}", _percent(row["risk"]))
                kept.add_row(name, alpha, rule, *figures, str(row["draws_that_answer"]))
    console.print(curve)
    console.print(kept)
    console.print(found["speed"], f"encoding {found['encode_ms']:.2f} ms")


def _hits_and_errors(row: dict[str, Any]) -> str:
    wrong = row["wrong_of_hits"]
    return f"{row['hit_share']:.0%} / {'–' if wrong is None else f'{wrong:.0%}'}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    main()
