"""Routing on public data: RouteLLM's outcomes, and intents."""

from __future__ import annotations

from typing import Any

_CONTENDERS = {
    "ours": "**Headrace**",
    "subject_mean": "mean gain of the subject",
    "tfidf_lr": "TF-IDF + logistic regression",
    "length": "length of the prompt",
}


def routing(found: dict[str, Any]) -> str:
    """RouteLLM's benchmarks out of fold, and intent sets."""
    benchmarks = found["routellm"]["out_of_fold"]
    rows = "\n".join(
        f"| {name.upper()}, {figures['rows']} | {title} | {_apgr(figures['contenders'][key])} |"
        for name, figures in benchmarks.items()
        for key, title in _CONTENDERS.items()
        if key in figures["contenders"]
    )
    across = "; ".join(
        f"{name} {figures['ours']['apgr']:.3f} (length {figures['length']['apgr']:.3f})"
        for name, figures in found["routellm"]["across"].items()
    )
    return (
        "**Which queries need the large model?** RouteLLM's outcomes, out of fold: area of quality over share of "
        "strong calls\n(APGR, random .5) and share of strong calls that recovers half of the gap (CPT50).\n\n"
        "| benchmark, prompts | by | APGR, 95 % interval | CPT50 | above it, paired 95 % |\n|---|---|---|---|---|\n"
        f"{rows}\n\n"
        f"Trained on one benchmark and tried on another it carries over little: {across}. [Routing]"
        "(routing.md) has the published rows\nbeside these.\n\n"
        f"{_intents(found['intents'])}"
    )


def _apgr(row: dict[str, Any]) -> str:
    low, high = row["apgr_95"]
    gap = row.get("ours_minus_95")
    ahead = f"{gap[0]:+.3f} to {gap[1]:+.3f}" if gap and row.get("ours_minus") else ""
    return f"{row['apgr']:.3f}, {low:.3f} to {high:.3f} | {row['cpt50']:.1f}% | {ahead}"


def _intents(found: dict[str, Any]) -> str:
    bank, clinc = found["banking77"], found["clinc150"]
    full, ten, five = bank["full"]["kernel"], bank["10_shot"]["few-shot"], bank["5_shot"]["few-shot"]
    best = clinc["kernel"]
    rejected = best["at_0.05"]
    return (
        "**Intents** on a frozen sentence encoder: BANKING77 "
        f"{full['value']:.1%} on all training rows, {ten['mean']:.1%} with 10 and {five['mean']:.1%} with 5 examples a "
        f"label (published: 93.4 and 85.2 % for USE + ConveRT);\nCLINC150 {best['in_scope']['value']:.1%} in scope, "
        f"{rejected['out_of_scope_recall']['value']:.1%} of out-of-scope queries found at "
        f"{rejected['false_rejection']['value']:.1%} false rejections (published: 96.2 % and 52.3 % for BERT with a "
        "threshold)."
    )
