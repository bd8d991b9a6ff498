"""Router, and routing by expected gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.target import (
    Beside,
    NotThere,
    Section,
    Target,
    Unit,
    Worked,
    above,
    at,
    at_least,
    below,
    worked,
)


def _accuracy(name: str, split: str, least: float, says: str, *beside: Beside, how: str = "") -> Target:
    return Target(
        name,
        says,
        "router",
        at("router", split, "accuracy"),
        at_least(least),
        Unit.SHARE,
        interval=at("router", split, "accuracy_95"),
        beside=(
            Beside("TF-IDF + logistic regression", at("baselines", "tfidf_lr", split, "accuracy"), Unit.SHARE),
            Beside("mean over sources", at("router", split, "macro_source"), Unit.SHARE),
            *beside,
        ),
        how=how,
        main=True,
    )


def _hop(name: str, key: str, most: float, says: str, main: bool) -> Target:
    other = "p99_ms" if key == "p50_ms" else "p50_ms"
    return Target(
        name,
        says,
        "router_hop",
        at("rows", "everyday", key),
        below(most),
        Unit.MS,
        beside=(
            Beside(other[:3], at("rows", "everyday", other), Unit.MS),
            Beside("repeated texts", at("rows", "repeated", key), Unit.MS),
            Beside("60 tokens", at("rows", "60 tokens", key), Unit.MS),
            Beside("128 tokens", at("rows", "128 tokens", key), Unit.MS),
        ),
        how="50 calls a second by chance, open loop, texts not seen before, beside an idle engine.",
        main=main,
    )


ROUTER = Section(
    "Router",
    (
        _accuracy("router-test", "test", 0.96, "at least 96 % on routing/test"),
        _accuracy(
            "router-ood",
            "test_ood",
            0.83,
            "at least 83 % on test_ood, sources that were never trained on",
            Beside(
                "without own texts on its topics",
                at("test_ood_with_fewer_texts", "without_known_topics", "accuracy"),
                Unit.SHARE,
            ),
        ),
        _accuracy(
            "router-lay",
            "lay",
            0.95,
            "at least 95 % on everyday queries that nobody trained on",
            how="The set was written for this project, by those who wrote a part of the training texts.",
        ),
        _hop("router-p50", "p50_ms", 5.0, "under 5 ms added at the median on the everyday mix, hop included", True),
        _hop("router-p99", "p99_ms", 15.0, "under 15 ms added at p99 on the everyday mix, hop included", False),
    ),
)


def _best_published(benchmark: str) -> Worked:
    """The best router of RouteLLM's table on a benchmark, whatever it was trained on."""

    def best(rows: Sequence[Mapping[str, Any]]) -> float:
        scores = [row["apgr"] for row in rows if row["benchmark"] == benchmark]
        if not scores:
            raise NotThere(benchmark)
        return float(max(scores))

    return worked(f"highest APGR published for {benchmark}", best, at("routellm", "published"))


def _best_of_arena(benchmark: str) -> Worked:
    """The best of those trained on arena votes alone, so on nothing of the benchmark's kind."""

    def best(rows: Sequence[Mapping[str, Any]]) -> float:
        scores = [row["apgr"] for row in rows if (row["benchmark"], row["training_data"]) == (benchmark, "arena")]
        if not scores:
            raise NotThere(benchmark)
        return float(max(scores))

    return worked(f"highest APGR published for {benchmark}, trained on arena votes", best, at("routellm", "published"))


def _beaten(benchmark: str, title: str, trained_on: str, published_on: str) -> Target:
    where = ("routellm", "across", benchmark)
    return Target(
        f"routellm-{benchmark}",
        f"RouteLLM's published table beaten on {title}",
        "routing",
        at(*where, "ours", "apgr"),
        above(_best_published(benchmark)),
        Unit.SCORE,
        interval=at(*where, "ours", "apgr_95"),
        beside=(
            Beside("best published, arena votes alone", _best_of_arena(benchmark), Unit.SCORE),
            Beside("length of the prompt", at(*where, "length", "apgr"), Unit.SCORE),
        ),
        how=f"APGR. Ours trained on {trained_on}, the best published on {published_on}. Published rows have no scores "
        "by query, so no paired interval can be told.",
        main=True,
    )


def _out_of_fold(benchmark: str, title: str, floor: float, says: str) -> Target:
    contenders = ("routellm", "out_of_fold", benchmark, "contenders")
    peers = {"mean gain of the subject": "subject_mean", "TF-IDF + logistic regression": "tfidf_lr"}
    return Target(
        f"routing-{benchmark}",
        says,
        "routing",
        at(benchmark, "apgr"),
        above(floor),
        Unit.SCORE,
        interval=at(benchmark, "apgr_95"),
        beside=tuple(Beside(name, at(*contenders, key, "apgr"), Unit.SCORE) for name, key in peers.items()),
        how=f"APGR on {title}. About 300 variants were looked at on these outcomes, so it is not blind.",
    )


def _intents(name: str, says: str, least: float, path: tuple[str, ...], figure: str, peers: dict[str, str]) -> Target:
    return Target(
        name,
        says,
        "routing",
        at("intents", *path, figure),
        at_least(least),
        Unit.SHARE,
        interval=at("intents", *path, "interval_95"),
        beside=tuple(
            Beside(title, at("intents", *_replaced(path, key), figure), Unit.SHARE) for title, key in peers.items()
        ),
    )


def _replaced(path: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The same figure of another classifier."""
    return tuple(key if part in {"kernel", "few-shot"} else part for part in path)


_PEERS = {"TF-IDF + logistic regression": "tfidf", "logistic regression on sentence vectors": "linear"}

ROUTING = Section(
    "Routing between models",
    (
        _beaten("gsm8k", "GSM8K", "MMLU", "arena votes and judged answers"),
        _beaten("mmlu", "MMLU", "GSM8K", "arena votes and labels of MMLU's validation part"),
        _beaten("mt_bench", "MT-Bench", "MMLU and GSM8K", "arena votes and judged answers"),
        _out_of_fold("mmlu", "MMLU out of fold", 0.68, "above .68 on MMLU, out of fold: more than subjects alone give"),
        _out_of_fold("gsm8k", "GSM8K out of fold", 0.622, "above .622 on GSM8K, out of fold"),
        _intents(
            "banking77-full",
            "at least 93 % on BANKING77, all training rows",
            0.93,
            ("banking77", "full", "kernel"),
            "value",
            _PEERS,
        ),
        _intents(
            "banking77-few",
            "at least 85 % on BANKING77 with ten examples a label",
            0.85,
            ("banking77", "10_shot", "few-shot"),
            "mean",
            {"logistic regression on sentence vectors": "linear"},
        ),
        _intents(
            "clinc150-in",
            "at least 95 % in scope on CLINC150",
            0.95,
            ("clinc150", "kernel", "in_scope"),
            "value",
            _PEERS,
        ),
        Target(
            "clinc150-out",
            "CLINC150's out-of-scope recall at a fixed rate of false rejections, reported",
            "routing",
            at("intents", "clinc150", "kernel", "at_0.05", "out_of_scope_recall", "value"),
            None,
            Unit.SHARE,
            interval=at("intents", "clinc150", "kernel", "at_0.05", "out_of_scope_recall", "interval_95"),
            beside=(
                Beside(
                    "false rejections",
                    at("intents", "clinc150", "kernel", "at_0.05", "false_rejection", "value"),
                    Unit.SHARE,
                ),
            ),
        ),
    ),
)
