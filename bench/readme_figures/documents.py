"""Retrieval, and answers with passages."""

from typing import Any

_SHOWN = {"none": "none", "found": "searched", "right": "the right one"}


def rag(found: dict[str, Any], circumstances: str) -> str:
    """Retrieval, then the table of answers; what was not measured yet is left out."""
    parts = [search(found)] if "retrieval_p50_ms" in found else []
    parts += [table(found)] if "quality" in found else []
    apart = found.get("quality_machine")
    answers = f" The answers are of a run of their own, at load {apart['load_1min_before']}." if apart else ""
    return "\n\n".join([*parts, f"{circumstances}.{answers}"])


def search(found: dict[str, Any]) -> str:
    """How well and how fast passages are found."""
    return (
        f"**Retrieval** from {found['chunks']} chunks: p50 {found['retrieval_p50_ms']} ms; recall@10 "
        f"{found['recall_at_10_hybrid']} by both searches together, {found['recall_at_10_vector']} by sentence vectors "
        f"and {found['recall_at_10_text']} by full text."
    )


def table(found: dict[str, Any]) -> str:
    """The table of answers, and by how much the fine-tuned small model with passages is better."""
    task, by = found["task"], found["best_small_by"]
    rows = "\n".join(_row(row) for row in found["quality"])
    others = ", ".join(
        f"{name} by {by[name]['by']:+.3f} [{by[name]['low_95']:+.3f}, {by[name]['high_95']:+.3f}]"
        for name in by
        if name in {row["kind"] for row in found["quality"]}
    )
    recall = found["search"][f"recall_at_{task['passages']}"]
    return (
        f"**Answers with documents** to {found['quality'][0]['rows']} held-out questions of {task['set']}, ROUGE-L "
        f"with 95 % bootstrap interval;\nup to {task['passages']} passages, the right one among them for {recall:.0%}; "
        f"both adapters trained on {task['training_tokens']} tokens. Cost by the demo's prices, latency one at a "
        f"time.\n\n| | passages | ROUGE-L | prompt tokens | USD per 1000 | p50 s |\n|---|---|---|---|---|---|\n"
        f"{rows}\n\n"
        f"Fine-tuned + RAG is better than {others} (paired bootstrap)."
    )


def _row(row: dict[str, Any]) -> str:
    return (
        f"| {row['kind']} | {_SHOWN[row['passages']]} | {row['rouge_l']:.3f} [{row['low_95']:.3f}, "
        f"{row['high_95']:.3f}] | {row['prompt_tokens']:.0f} | {row['usd_per_1000']:.4f} | {row['latency_p50_s']} |"
    )
