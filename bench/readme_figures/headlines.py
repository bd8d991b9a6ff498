"""A line for each capability: what was measured, and what it is measured against in the same run."""

from collections.abc import Callable, Mapping
from typing import Any

from bench.readme_figures.results import read, taken

Row = tuple[str, str, str]
"""What, measured, beside."""


def headlines() -> str:
    """The table; a line whose result file is not there is left out."""
    found = {name: read(name) for name in ROWS if taken(name)}
    rows = "\n".join(f"| {' | '.join(ROWS[name](of))} |" for name, of in found.items())
    return f"| what | measured | in the same run |\n|---|---|---|\n{rows}\n\n{_machines(found)}"


def _machines(found: Mapping[str, Any]) -> str:
    """Where each row was taken."""
    names: dict[str, list[str]] = {}
    for name, of in found.items():
        facts = of["machine"]
        names.setdefault(f"{facts['processor']}, {facts['cores']} cores", []).append(name)
    places = "; ".join(f"{place}: {', '.join(of)}" for place, of in names.items())
    return f"Models of 135M to 1.5B on CPUs. Machines, by result file: {places}."


def _router(found: dict[str, Any]) -> Row:
    ours, peer = found["router"], found["baselines"]["tfidf_lr"]
    return (
        "router, held-out queries / sources never trained on",
        f"**{ours['test']['accuracy']:.1%} / {ours['test_ood']['accuracy']:.1%}** right",
        f"TF-IDF + logistic regression {peer['test']['accuracy']:.1%} / {peer['test_ood']['accuracy']:.1%}",
    )


def _hop(found: dict[str, Any]) -> Row:
    new, known = found["rows"]["everyday"], found["rows"]["repeated"]
    return (
        "router in a running graph, hop included, everyday queries",
        f"p50 **{new['p50_ms']:.1f} ms**, p99 {new['p99_ms']:.1f} ms",
        f"asked before: p50 {known['p50_ms']:.1f} ms",
    )


def _engine(found: dict[str, Any]) -> Row:
    rates = {name: by_size.get("32") for name, by_size in found["tokens_per_s"].items()}
    peers = {
        "base": "no adapter",
        "peft": "PEFT, mixed batch",
        "one_at_a_time": "PEFT, one query at a time",
        "vllm_mixed": "vLLM CPU, an adapter per row",
    }
    return (
        f"engine, 32 rows with {found['adapters']['number']} adapters in one batch",
        f"**{rates['mixed']:.0f}** tokens/s",
        "; ".join(f"{title} {rates[name]:.0f}" for name, title in peers.items() if rates.get(name)),
    )


def _cascade(found: dict[str, Any]) -> Row:
    curve = found["profiles"]["large"]["curves"]["by_parameters"]
    ours, large, small = curve["at_target"], curve["always_large"], curve["always_small"]
    return (
        "cascade 135M / 1.5B, cheapest way within 2 points of the large model",
        f"**{ours['saved']:.0%} saved**, {ours['quality']:.1%} right",
        f"always large {large['quality']:.1%} right; always small {small['saved']:.0%} saved, {small['quality']:.1%}",
    )


def _ensemble(found: dict[str, Any]) -> Row:
    ways, large = found["quality"]["ways"], found["quality"]["large_model"]
    vote = ways["vote"]
    return (
        f"vote of {len(found['quality']['members'])} adapters",
        f"**{vote['accuracy']:.1%}** right at ${vote['usd_per_million_requests']:.2f} a million requests",
        f"best member {ways['best_member']['accuracy']:.1%}; large model {large['accuracy']:.1%} at "
        f"${large['usd_per_million_requests']:.2f}",
    )


def _documents(found: dict[str, Any]) -> Row:
    by_kind = {row["kind"]: row for row in found["quality"]}
    ours, large = by_kind["fine-tuned + RAG"], by_kind["large + RAG"]
    return (
        "fine-tuned adapter with passages of documents, ROUGE-L",
        f"**{ours['rouge_l']:.3f}** at ${ours['usd_per_1000']:.4f} a thousand",
        f"fine-tuned alone {by_kind['fine-tuned']['rouge_l']:.3f}; large model with passages {large['rouge_l']:.3f} at "
        f"${large['usd_per_1000']:.4f}",
    )


def _distill(found: dict[str, Any]) -> Row:
    return (
        f"distillation, share escalated at a stated risk of {found['stated_risk']:.0%}",
        f"**{found['escalation_after']:.1%}**, {found['right_after']:.1%} right",
        f"before: {found['escalation_before']:.1%}, {found['right_before']:.1%} right",
    )


def _training(found: dict[str, Any]) -> Row:
    rates = found["tokens_per_s"]
    return ("training a LoRA", f"**{rates['ours']:.0f}** tokens/s", f"plain PEFT loop, bfloat16, {rates['peft']:.0f}")


def _chaos(found: dict[str, Any]) -> Row:
    without, rate = found["overhead"]["whole"]["off"], found["overhead"]["queries_per_s"]
    return (
        f"ledger, {found['kills']} replicas killed under load; what it adds to a query at {rate} queries/s",
        f"of {found['answered']:,} answers **{found['missing']} without an account, {found['duplicate']} with two**; "
        f"p50 {found['overhead_p50_ms']:.2f} ms, p99 {found['overhead_p99_ms']:.2f} ms",
        f"the query without it: p50 {without['p50']:.2f} ms, p99 {without['p99']:.2f} ms",
    )


def _cluster(found: dict[str, Any]) -> Row:
    blows = found["cluster"]["blows"]
    requests, errors = (sum(blow[name] for blow in blows) for name in ("requests", "errors"))
    num_nodes = sum(blow["what"].startswith("node") for blow in blows)
    updates = sum(update["queries"] for update in found["rolling"]["updates"])
    return (
        f"cluster, {len(blows) - num_nodes} replicas and {num_nodes} nodes killed under load",
        f"**{errors} of {requests:,}** requests failed",
        f"three rolling updates: {found['rolling_update_failed']} of {updates}",
    )


ROWS: dict[str, Callable[[dict[str, Any]], Row]] = {
    "router": _router,
    "router_hop": _hop,
    "engine": _engine,
    "cascade": _cascade,
    "ensemble": _ensemble,
    "rag": _documents,
    "distill": _distill,
    "training": _training,
    "ledger_chaos": _chaos,
    "cluster": _cluster,
}
"""Result file -> its line."""
