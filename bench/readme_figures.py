"""Writes the figures of README.md from bench/results/*.json and the adapters' metrics, between two marks.

python -m bench.readme_figures
"""

import json
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
START, END = "<!-- figures: written by bench/readme_figures.py -->", "<!-- end of figures -->"
SHIPPED = REPO / "serve_app" / "adapters" / "shipped"
HEADLINES = {
    "code": (("nl2bash", "template"), ("conala", "token_f1"), ("mbpp", "loss")),
    "legal": (("clause_type", "exact"), ("overruling", "verdict"), ("cuad_seen_tasks", "verdict")),
    "medical": (("medquad", "rouge_l"), ("medquad", "loss")),
    "support": (("clinc150", "exact"), ("clinc150", "loss")),
}
"""Adapter -> (group, metric) pairs of its metrics.json that the README shows; the cards show all, the bad ones too."""


def read(name: str) -> Any:
    """One result file."""
    return json.loads((REPO / "bench" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def figures() -> str:
    """The section, without the marks."""
    return "\n\n".join(
        (
            router(read("router")),
            cascade(read("cascade")),
            adapters(),
            engine(read("engine")),
            soak(read("soak")),
            ledger(read("ledger")),
        )
    )


def circumstances(facts: dict[str, Any]) -> str:
    """Where a bench ran."""
    return f"{facts['processor']}, {facts['cores']} cores, load {facts['load_1min_before']} at the start"


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
        "training texts;\nwhat that does to these figures is in [the card](serve_app/router/shipped/README.md).\n\n"
        f"| set | accuracy | 95 % interval | TF-IDF + logistic regression |\n|---|---|---|---|\n{rows}\n\n"
        f"`test_ood` is not wholly blind: our own training texts touch some of its subjects; without "
        f"those it is {fewer:.1%}."
        "\n\n"
        f"| latency in process, one thread | p50 ms | p99 ms |\n|---|---|---|\n{latency}\n\n"
        f"{circumstances(found['machine'])}. The hop to the router's replica comes on top."
    )


def cascade(found: dict[str, Any]) -> str:
    """Whether stated risks are kept, and what quality costs, on recorded outcomes of the shipped models."""
    large = found["profiles"]["large"]
    rules = {"learn_then_test": "Headrace", "empirical": "threshold that looks good on the labels"}
    kept = "\n".join(
        f"| {title} | {row['kept']:.1%}, {row['kept_95'][0]:.1%} to {row['kept_95'][1]:.1%} ({row['worst_route']}) "
        f"| {row['accepted_share']:.1%} | {row['saved']:.1%} |"
        for rule, title in rules.items()
        for row in [large["guarantee"]["right_third"][rule]]
    )
    names = {
        "always_small": "always small",
        "always_large": "always large",
        "mean_probability_0.9": "mean probability 0.9",
        "at_target": "**cheapest no worse than always large**",
    }
    columns = [("large", "by_parameters"), ("large", "by_time"), ("demo", "by_parameters")]
    ways = "\n".join(
        _way(f"{profile}, {prices.replace('_', ' ')}", title, found["profiles"][profile]["curves"][prices][name])
        for profile, prices in columns
        for name, title in names.items()
    )
    budgets = "\n".join(
        _way(
            "large, by parameters",
            f"Headrace at {float(budget):.0%} of the price",
            large["curves"]["by_parameters"]["ours"][budget],
        )
        for budget in ("0.2", "0.3", "0.4", "0.5")
    )
    ceilings = ", ".join(
        f"{name} {1 - figures['curves']['by_parameters']['ratio_s']:.0%}" for name, figures in found["profiles"].items()
    )
    share = large["mix"]["share_where_large_is_10_points_better"]
    num_queries = sum(large["outcomes"]["tasks"].values())
    return (
        f"**Cascade**, on recorded answers of the shipped models to public tasks ({num_queries} queries; "
        "docs/routing.md). Stated: at most 10 % of a\nroute's accepted answers wrong, with 90 % confidence. "
        "Kept in so many of 200 draws, in the worst route that accepts anything:\n\n"
        f"| threshold by | kept, 95 % interval | accepted | saved |\n|---|---|---|---|\n{kept}\n\n"
        "What quality costs, each policy judged on queries it was not fitted on; the large model is 10 points "
        f"better on {share:.0%} of the mix:\n\n"
        "| profile, prices | way | right answers, 95 % interval | saved, 95 % interval |\n|---|---|---|---|\n"
        f"{ways}\n{budgets}\n\n"
        f"A cascade that never escalates would save: {ceilings}. Profile `large` is 135M / 1.5B, `demo` 135M / 0.5B."
    )


def _way(profile: str, title: str, row: dict[str, Any]) -> str:
    quality, saved = row["quality_95"], row["saved_95"]
    return (
        f"| {profile} | {title} | {row['quality']:.1%}, {quality[0]:.1%} to {quality[1]:.1%} "
        f"| {row['saved']:.1%}, {saved[0]:.1%} to {saved[1]:.1%} |"
    )


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


CONTENDERS = {
    "mixed": "**an adapter per row**",
    "single": "one adapter for all rows",
    "base": "no adapter",
    "base_int8": "no adapter, int8",
    "base_int4": "no adapter, int4",
    "peft": "PEFT, mixed batch",
    "one_at_a_time": "PEFT, `set_adapter` per query",
    "transformers": "transformers, no adapter",
    "vllm_base": "vLLM CPU, no adapter",
    "vllm_mixed": "vLLM CPU, an adapter per row",
    "llama_cpp_base": "llama.cpp, 4-bit file, no adapter",
    "floor": "the matrix products alone",
}


def engine(found: dict[str, Any]) -> str:
    """Decode speed beside the peers and the machine's limit."""
    rates, facts = found["tokens_per_s"], found["machine"]
    sizes = list(rates["mixed"])
    rows = "\n".join(
        f"| {title} | " + " | ".join(str(rates[name].get(size, "")) for size in sizes) + " |"
        for name, title in CONTENDERS.items()
        if name in rates
    )
    ratios = {
        "vs_peft_mixed": "of PEFT's mixed batch, times",
        "vs_one_at_a_time": "of one at a time, times",
        "share_of_own_base": "of its own speed without adapters",
        "mixed_vs_single": "of one adapter for all rows",
        "share_of_floor": "of the matrix products alone",
        "base_vs_vllm_base": "without adapters, of vLLM, times",
        "vs_vllm_mixed": "of vLLM with adapters, times",
    }
    shares = "\n".join(
        f"| {title} | " + " | ".join(f"{found[name].get(size, '')}" for size in sizes) + " |"
        for name, title in ratios.items()
        if name in found
    )
    header = f"| | {' | '.join(f'{size} rows' for size in sizes)} |\n|---|{'---|' * len(sizes)}\n"
    adapters = found["adapters"]
    return (
        f"**Engine**, decode tokens/s of {found['model']} in {facts['dtype']}, {adapters['number']} adapters of rank "
        f"{adapters['rank']} on {adapters['targets']}\nrotating over the rows, "
        f"{found['prompt_tokens']}-token prompts, {facts['threads']} threads; all contenders took turns in one run.\n\n"
        f"{header}{rows}\n\nAn adapter per row, as a share or multiple:\n\n{header}{shares}\n\n"
        f"{waiting(found['over_time'])}\n\n{circumstances(facts)}."
    )


def waiting(found: dict[str, Any]) -> str:
    """Waiting times under arrivals by chance, 100 adapters known."""
    rows = "\n".join(
        f"| {r['adapters']} / {r['resident']} | {r['load']:.0%} | {r['first_token_ms']['p50']:.0f} / "
        f"{r['first_token_ms']['p99']:.0f} | {r['between_tokens_ms']['p50']:.0f} / {r['between_tokens_ms']['p99']:.0f} "
        f"| {r['adapter_loads']} | {r['longest_gap_ms']['while_loading']:.0f} |"
        for r in found["poisson"]
    )
    return (
        f"Requests by chance (Poisson, {found['capacity_requests_per_s']} a second is taken as full load), adapters by "
        "popularity (Zipf), milliseconds:\n\n"
        "| adapters known / resident | load | first token p50 / p99 | between tokens p50 / p99 | adapter loads "
        "| longest gap of any row during a load |\n|---|---|---|---|---|---|\n"
        f"{rows}\n\nBeside one adapter that asks for three times what the engine can do, the others' p99 to the first "
        f"token is {found['flood']['p99_first_token_ratio']} times what it is alone."
    )


def soak(found: dict[str, Any]) -> str:
    """An hour's requests."""
    memory = found["memory_mib"]
    return (
        f"**Soak**: {found['requests']} requests over {found['adapters']} adapters ({found['resident']} resident) in "
        f"{found['seconds']} s: resident memory {memory[len(memory) // 2]} MiB half way, {memory[-1]} MiB at the end."
    )


def ledger(found: dict[str, Any]) -> str:
    """What accounting costs."""
    put, commits = found["put"], {row["batch_size"]: row["queries_per_s"] for row in found["commit"]}
    return (
        f"**Ledger**: pricing and buffering one query takes {put['both_p50_us']:.0f} µs at the median (p99 "
        f"{put['both_p99_us']:.0f} µs) at {put['reached_queries_per_s']} queries/s;\nSQLite takes {commits[500]:,} "
        f"queries/s in batches of 500, {commits[1]:,} with a commit each. {circumstances(found['machine'])}."
    )


def main() -> None:
    """Replace what stands between the marks."""
    path = REPO / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    path.write_text(f"{before}{START}\n{figures()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
