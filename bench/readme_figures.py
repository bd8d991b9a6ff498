"""Writes the figures of README.md from bench/results/*.json and the adapters' metrics, between two marks.

python -m bench.readme_figures
"""

import json
from pathlib import Path
from typing import Any

from bench.readme_ledger import accounting, chaos, scale
from bench.routing.figures import routing

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


LEDGER = {"ledger": accounting, "ledger_chaos": chaos, "ledger_scale": scale}


def figures() -> str:
    """The section, without the marks."""
    return "\n\n".join(
        (
            router(read("router")),
            router_hop(read("router_hop")),
            routing(read("routing")),
            cascade(read("cascade")),
            adapters(),
            engine(read("engine")),
            soak(read("soak")),
            *(part(found := read(name), circumstances(found["machine"])) for name, part in LEDGER.items()),
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


EXPERIMENTS = ("right", "stated")
SELDOM = 0.05
"""Routes that accept in fewer draws than this are left to the JSON."""


def cascade(found: dict[str, Any]) -> str:
    """Whether stated risks are kept, and what quality costs, on recorded outcomes of the shipped models."""
    large = found["profiles"]["large"]
    shares = ", ".join(
        f"{name} {figures['mix']['share_where_large_is_10_points_better']:.0%}"
        for name, figures in found["profiles"].items()
    )
    ceilings = ", ".join(f"{name} {1 - curve['ratio_s']:.0%}" for name, curve in _by_parameters(found).items())
    num_queries, slack = sum(large["outcomes"]["tasks"].values()), found["quality_target_slack"]
    return (
        f"**Cascade**, on recorded answers of the shipped models to public tasks ({num_queries} queries; "
        "docs/routing.md). Two kinds of policy,\nwith different promises.\n\n"
        f"{_guarantees(large['guarantee'])}\n\n"
        f"*A quality target*: the cheapest way that on other queries was surely (90 %) at most {100 * slack:.0f} "
        "points worse than always-large. It promises nothing\nabout the risk of a route. `medquad` and `conala` are "
        "scored by likeness to a reference, in whose style the small model was trained,\nso the second part leaves "
        "them out. "
        f"The large model is 10 points better on this share of the mix: {shares}.\n\n"
        "| profile, prices | way | right answers, 95 % interval | saved, 95 % interval |\n|---|---|---|---|\n"
        f"{_ways(found['profiles'])}\n\n"
        f"A cascade that never escalates would save: {ceilings}. Profile `large` is 135M / 1.5B, `demo` 135M / 0.5B."
        f"{_not_ahead(_by_parameters(found), 'all tasks')}"
        f"{_not_ahead(_by_parameters(found, 'curves_exactly_scored'), 'exactly scored tasks')}\n\n"
        f"{_first_token(found['first_token'])}"
    )


def _guarantees(experiments: dict[str, Any]) -> str:
    """Route by route, both rules; where thirds and halves calibrated, both."""
    rows: dict[str, str] = {}
    for name in EXPERIMENTS:
        third, half = experiments[f"{name}_third"], experiments.get(f"{name}_half")
        routes = third["learn_then_test"]["routes"]
        for route, row in routes.items():
            if row["draws_that_accept"] < SELDOM:
                continue
            cells = []
            for rule in ("learn_then_test", "empirical"):
                one = third[rule]["routes"][route]
                kept = f"{one['kept']:.1%}" + (f" / {half[rule]['routes'][route]['kept']:.1%}" if half else "")
                cells.append(f"{one['draws_that_accept']:.1%} | {one['accepted_share']:.1%} | {kept}")
            stated = f"{route}, {row['alpha']:.0%} wrong"
            rows[stated] = f"| {stated} | " + " | ".join(cells) + " |"
    tested, usual = experiments["right_third"]["learn_then_test"], experiments["right_third"]["empirical"]
    num_refused = len(tested["routes"]) - len(tested["routes_that_accept_in_some_draw"])
    return (
        "*A stated risk*, kept with 90 % confidence: the share of 200 draws in which it was kept on the rows that did "
        "not calibrate, by Headrace\nand by the threshold that looks good on the same labels; a third / half of the "
        "rows calibrated. A route that accepts nothing counts as kept,\nso the draws that accept stand beside it. At "
        f"10 % wrong {num_refused} of {len(tested['routes'])} routes are refused in every draw: such small models are "
        "wrong too often there, and only the rest is tested.\n"
        f"With these refusals the policy accepts {tested['accepted_share']:.0%} of all queries and saves "
        f"{tested['saved']:.1%} (by parameters); the other rule, which does not keep the risk, {usual['saved']:.1%}. "
        "Risks by route are illustrations.\n\n"
        "| at most | Headrace: draws that accept | accepted | kept | looks good: draws that accept | accepted "
        "| kept |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows.values())
    )


def _ways(profiles: dict[str, Any]) -> str:
    names = {
        "always_small": "always small",
        "always_large": "always large",
        "mean_probability_0.9": "mean probability 0.9",
        "at_target": "**cheapest within the slack**",
    }
    shown = [
        ("large", "curves", "by_parameters", tuple(names)),
        ("large", "curves", "by_time", ("at_target",)),
        ("large", "curves_exactly_scored", "by_parameters", ("always_small", "always_large", "at_target")),
        ("large", "curves_exactly_scored", "by_time", ("at_target",)),
        ("demo", "curves", "by_parameters", ("always_small", "always_large", "at_target")),
    ]
    rows = []
    for profile, mix, prices, ways in shown:
        suffix = ", exactly scored tasks" if mix == "curves_exactly_scored" else ""
        where = f"{profile}, {prices.replace('_', ' ')}{suffix}"
        rows += [_way(where, names[way], profiles[profile][mix][prices][way]) for way in ways]
    rows += [
        _way("large, by parameters", f"Headrace at {float(budget):.0%} of the price", row)
        for budget, row in profiles["large"]["curves"]["by_parameters"]["ours"].items()
        if budget in ("0.3", "0.4", "0.5")
    ]
    return "\n".join(rows)


def _by_parameters(found: dict[str, Any], mix: str = "curves") -> dict[str, Any]:
    """Profile -> its curves at prices by parameters."""
    return {name: figures[mix]["by_parameters"] for name, figures in found["profiles"].items()}


def _not_ahead(curves: dict[str, Any], mix: str) -> str:
    """Difference to always-large, and the budgets whose paired interval does not clear the mean-probability rule."""
    gaps = {name: curve["at_target"]["over_always_large"] for name, curve in curves.items()}
    points = ", ".join(
        f"{name} {100 * gap['mean']:+.1f} ({100 * gap['interval_95'][0]:+.1f} to {100 * gap['interval_95'][1]:+.1f})"
        for name, gap in gaps.items()
    )
    found = {name: curve["not_surely_ahead_of_mean_probability_at"] for name, curve in curves.items()}
    listed = "; ".join(f"{name} {', '.join(budgets) or 'none'}" for name, budgets in found.items())
    return (
        f"\nOver {mix} the cheapest way is this many points above always-large (paired 95 %): {points}.\nAt the same "
        "cost Headrace is ahead of the best mean-probability threshold, interval clear of 0, at all budgets (parts of "
        f"always-large) but: {listed}."
    )


def _first_token(found: dict[str, Any]) -> str:
    titles = {
        "accepted": ("accepted", "added_where_accepted_ms"),
        "escalated": ("escalated after a draft", "added_where_escalated_after_a_draft_ms"),
        "undrafted": ("of a refused route, never drafted", "added_where_never_drafted_ms"),
    }
    parts = [
        f"{found[name]} {title}: {found[key]['median']:.0f} ms (p90 {found[key]['p90']:.0f})"
        for name, (title, key) in titles.items()
        if found[key]
    ]
    return (
        f"Added to the time to the first text, demo pair, one query at a time ({found['queries']} queries), to that of "
        f"the model that answers:\n{'; '.join(parts)}."
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


def main() -> None:
    """Replace what stands between the marks."""
    path = REPO / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    path.write_text(f"{before}{START}\n{figures()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
