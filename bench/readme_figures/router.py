"""The shipped router: accuracy, and what it adds to a query."""

from typing import Any

from bench.readme_figures.results import circumstances


def router(found: dict[str, Any]) -> str:
    """Accuracy and latency of the shipped router."""
    names = {
        "test": "`routing/test`",
        "test_ood": "`routing/test_ood`, sources never trained on",
        "lay": "lay test set",
    }
    rows = "\n".join(
        f"| {title}, {found['router'][name]['rows']} rows | {found['router'][name]['accuracy']:.1%} "
        f"| {found['router'][name]['accuracy_95'][0]:.1%} to {found['router'][name]['accuracy_95'][1]:.1%} "
        f"| {found['baselines']['tfidf_lr'][name]['accuracy']:.1%} |"
        for name, title in names.items()
    )
    latency = "\n".join(
        f"| {name.replace('_', ' ')} | {ms['p50']:.2f} | {ms['p99']:.2f} |"
        for name, ms in found["latency_ms"].items()
        if isinstance(ms, dict)
    )
    fewer = found["test_ood_with_fewer_texts"]["without_known_topics"]["accuracy"]
    return (
        "**Router** (four labels, chance is 25 %). The lay set was written for this project, and so was a part of the "
        "training texts;\nwhat that does to these figures is in `serve_app/router/shipped/README.md`.\n\n"
        f"| set | accuracy | 95 % interval | TF-IDF + logistic regression |\n|---|---|---|---|\n{rows}\n\n"
        f"`test_ood` is not wholly blind: our own training texts touch some of its subjects; without "
        f"those it is {fewer:.1%}."
        "\n\n"
        f"| latency in process, one thread | p50 ms | p99 ms |\n|---|---|---|\n{latency}\n\n"
        f"{circumstances(found['machine'])}."
    )


def router_hop(found: dict[str, Any]) -> str:
    """What the router adds in a running graph, hop included."""
    rows = "\n".join(f"| {name} | {row['p50_ms']:.1f} | {row['p99_ms']:.1f} |" for name, row in found["rows"].items())
    return (
        f"Hop to the router's replica included, in a running graph beside an idle engine, {found['rate_per_s']:g} "
        "calls a second by chance, texts not seen before\nunless the row says repeated:\n\n"
        f"| texts | p50 ms | p99 ms |\n|---|---|---|\n{rows}"
    )
