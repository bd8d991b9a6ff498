"""The shipped adapters on held-out rows, from the figures that their training wrote."""

import json

from bench.machine import REPO

SHIPPED = REPO / "serve_app" / "adapters" / "shipped"
HEADLINES = {
    "code": (("nl2bash", "template"), ("conala", "token_f1"), ("mbpp", "loss")),
    "legal": (("clause_type", "exact"), ("overruling", "verdict"), ("cuad_seen_tasks", "verdict")),
    "medical": (("medquad", "rouge_l"), ("medquad", "loss")),
    "support": (("clinc150", "exact"), ("clinc150", "loss")),
}
"""Adapter -> (group, metric) pairs of its metrics.json that the README shows; the cards show all, the bad ones too."""


def adapters() -> str:
    """Held-out figures of the shipped adapters."""
    rows = []
    for name, wanted in HEADLINES.items():
        metrics = json.loads((SHIPPED / name / "metrics.json").read_text(encoding="utf-8"))
        for group, metric in wanted:
            record = next(r for r in metrics["evaluation"] if (r["group"], r["metric"]) == (group, metric))
            rows.append(
                f"| {name} | {group}, {metric} | {record['num_rows']} | {record['before']:.3f} | {record['after']:.3f} "
                f"| {record['low']:+.3f} to {record['high']:+.3f} |"
            )
    return (
        "**Shipped adapters**, held-out rows, the base under the same system prompt against the adapter. `loss` is "
        "nats a token, lower is\nbetter; what each adapter is bad at is in its card "
        "(`serve_app/adapters/shipped/*/README.md`).\n\n"
        "| adapter | group, metric | rows | base | adapter | change, 95 % paired bootstrap |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows)
    )
