"""The README of an adapter folder, rendered from its `metrics.json`: no figure is typed by hand."""

from __future__ import annotations

from typing import Any

from serve_app.adapters import AdapterManifest
from serve_app.training.passages import describe

_MEANING = {
    "exact": "exact match, white space apart",
    "template": "same utilities and flags in the same order",
    "token_f1": "F1 of tokens",
    "rouge_l": "ROUGE-L F1",
    "choice": "balanced accuracy, likeliest of the choices",
    "verdict": "balanced accuracy of the yes or no that is generated; where neither is, of the likelier first token",
    "loss": "nats a token of the reference, lower is better",
}


def render(name: str, metrics: dict[str, Any], manifest: AdapterManifest) -> str:
    """The card in Markdown."""
    return "\n".join(
        [
            f"# {name}",
            "",
            manifest.description or "A LoRA adapter.",
            "",
            f"Base: `{metrics['base']['alias']}`, source artefact sha256 `{metrics['base']['source_digest']}`.",
            "",
            "## Held-out figures",
            "",
            *_evaluation(metrics),
            "",
            "## Data",
            "",
            *_data(metrics["data"]),
            *(f"* Licence: {line}" for line in manifest.licence),
            "",
            "## Training",
            "",
            *_training(metrics),
        ]
    )


def _evaluation(metrics: dict[str, Any]) -> list[str]:
    rows = metrics["evaluation"]
    if not rows:
        return ["No evaluation file was given."]
    used = dict.fromkeys(row["metric"] for row in rows)
    lines = [
        "Before is the bare base under the same system prompt, after is with the adapter, on the same rows; the",
        "interval is a 95 % paired bootstrap over rows.",
        "",
        *_table(rows),
        "",
        *(f"* `{metric}`: {_MEANING[metric]}." for metric in used),
    ]
    routed = metrics["as_routed"]
    if routed is None:
        return lines
    return [
        *lines,
        "",
        f"As routed: the shipped router gives {routed['share']:.1%} of these rows to this adapter; the others count",
        "with the base's score.",
        "",
        *_table(routed["evaluation"]),
    ]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| rows | group | metric | before | after | change, 95 % interval | outside the interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        change = f"{row['after'] - row['before']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        lines.append(
            f"| {row['num_rows']} | {row['group']} | {row['metric']} | {row['before']:.3f} | {row['after']:.3f} "
            f"| {change} | {_word(row)} |"
        )
    return lines


def _word(row: dict[str, Any]) -> str:
    """`better` or `worse` when zero lies outside the interval, else `no`."""
    if row["low"] <= 0 <= row["high"]:
        return "no"
    return "better" if row["better"] else "worse"


def _data(data: dict[str, Any]) -> list[str]:
    lines = [
        f"* {data['train_rows']} training rows, sha256 `{data['train_sha256']}`; "
        f"{data['rows_left_out_as_too_long']} left out as too long, {data['completions_cut']} completions cut.",
    ]
    if data["evaluation_sha256"]:
        lines.append(f"* {data['evaluation_rows']} held-out rows, sha256 `{data['evaluation_sha256']}`.")
    if data.get("passages"):  # cards older than this have no such line
        lines.append(f"* {describe(data['passages'])}")
    lines += [f"* Made from `{name}`, sha256 `{digest}`." for name, digest in data["sources_sha256"].items()]
    return lines + [f"* {note}" for note in data["notes"]]


def _training(metrics: dict[str, Any]) -> list[str]:
    options, training = metrics["options"], metrics["training"]
    versions = ", ".join(f"{name} {number}" for name, number in metrics["versions"].items())
    return [
        f"* LoRA rank {options['rank']}, alpha {options['alpha']:g}, on {', '.join(options['target_modules'])}.",
        f"* AdamW, peak rate {options['learning_rate']:g}, {options['schedule']} schedule, "
        f"{options['rows_per_step']} rows a step, seed {options['seed']}; loss on completions only.",
        f"* {training['steps']} steps, {training['tokens']} non-pad tokens (prompts included) in "
        f"{training['busy_s']:.0f} s: {training['tokens_per_s']:.0f} tokens/s in {training['dtype']} on "
        f"{training['device']}, {training['threads']} thread(s).",
        f"* Training loss {training['first_loss']:.3f} at first, {training['last_loss']:.3f} at last.",
        *_validations(metrics),
        f"* {versions}.",
        *(f"* {note}" for note in training["notes"]),
        *(["", f"![Learning curve]({training['picture']})"] if training.get("picture") else []),
    ]


def _validations(metrics: dict[str, Any]) -> list[str]:
    """Nothing where there was no validation, as in cards older than it."""
    training = metrics["training"]
    if not training.get("validations"):
        return []
    (first_step, first), (last_step, last) = training["validations"][0], training["validations"][-1]
    lines = [
        f"* Validation loss on {metrics['data']['validation_rows']} rows held back: {first:.3f} after step "
        f"{first_step}, {last:.3f} after step {last_step}."
    ]
    if (best := training["best_step"]) is not None:
        ended = "stopped early" if training["steps"] < training["planned_steps"] else "not stopped early"
        lines.append(f"* The weights are those of step {best}, the best in validation; {ended}.")
    return lines
