"""Writes the figures and the keys of docs/distillation.md, from bench/results/distill.json and the plan's fields.

python -m bench.distill.page
"""

from __future__ import annotations

import json
from typing import Any

from bench import machine
from serve_app.config.reference import tables
from serve_app.distill.plan import Plan

PAGE = machine.REPO / "docs" / "distillation.md"
START, END = "<!-- figures: written by bench/distill/page.py -->", "<!-- end of figures -->"
KEYS, END_OF_KEYS = "<!-- keys: written by bench/distill/page.py -->", "<!-- end of keys -->"


def figures() -> str:
    """The section, without the marks."""
    found = json.loads((machine.RESULTS / "distill.json").read_text(encoding="utf-8"))
    return "\n".join((*_table(found), "", *_sentences(found), "", _circumstances(found)))


def keys() -> str:
    """Every key of a plan."""
    return tables(Plan).replace("## Sections", "### A plan").replace("## `", "### `").strip()


def _table(found: dict[str, Any]) -> list[str]:
    before, after = (
        {name: found[f"{name}_{when}"] for name in ("right", "escalation", "risk", "saved")}
        for when in ("before", "after")
    )
    for values in (before, after):  # of nothing accepted no share is wrong
        values["risk"] = values["risk"] if values["escalation"] < 1 else None
    return [
        f"{found['test_rows']} test rows; the stated risk is {found['stated_risk']:.0%} wrong among the accepted. "
        f"The large model itself is right in {found['large_right']:.1%}.",
        "",
        "| small model, behind its own threshold | right alone | escalated | wrong among accepted | saved |",
        "|---|---|---|---|---|",
        f"| the bare base | {_row(found['rounds']['base'])} |",
        f"| live before: first round | {_row(before)} |",
        f"| **new: second round** | {_row(after)} |",
        *(
            f"| {name}, {float(alpha):.0%} stated | {_row(told[when])} |"
            for alpha, told in found["other_risks"].items()
            for name, when in (("live", "before"), ("new", "after"))
        ),
    ]


def _sentences(found: dict[str, Any]) -> list[str]:
    rounds = found["rounds"]
    worse = [check["found"] for check in rounds["shuffled"]["gate"]["checks"] if not check["passed"]]
    return [
        f"Escalations change by {_interval(found['escalation_change_95'])}, the share saved by "
        f"{_interval(found['saved_change_95'])} (95 %, paired over test rows). The gate "
        f"{_said(found['gate_passed'])} the new version.",
        "",
        f"- {_learnt('First', rounds['first_round'])}",
        f"- {_learnt('Second', rounds['second_round'])}",
        f"- The second round once more, on shuffled answers: the gate {_said(not found['shuffled_refused'])} it. "
        f"{' '.join(worse)}",
    ]


def _circumstances(found: dict[str, Any]) -> str:
    facts, rounds = found["machine"], found["rounds"]
    trained_s = sum(rounds[name]["train"]["busy_s"] for name in ("first_round", "second_round", "shuffled"))
    took = f"{found['seconds'] / 60:.1f} minutes"
    if found["went_on"]:
        took = f"going on from a run that had trained already, for {trained_s / 60:.0f} minutes"
    return (
        f"`{facts['command'].partition(' --json')[0]}`, {facts['processor']}, {facts['cores']} cores, load "
        f"{facts['load_1min_before']} at the start, {took}. Prices by parameters."
    )


def _said(passed: bool) -> str:
    return "passed" if passed else "refused"


def _row(values: dict[str, Any]) -> str:
    return " | ".join(_share(values[name]) for name in ("right", "escalation", "risk", "saved"))


def _learnt(name: str, told: dict[str, Any]) -> str:
    train = told["train"]
    return (
        f"{name} round: {told['escalated']} of {told['captured']} captured queries were escalated; "
        f"{told['rate']['kept']} answers passed the quality rule, {_share(told['large_right_of_kept'])} of them right "
        f"(of all {_share(told['large_right'])}); trained on {train['rows']} rows, {train['num_tokens']:,} tokens, "
        f"{train['busy_s']:.0f} s."
    )


def _interval(ends: list[float]) -> str:
    return f"{100 * ends[0]:+.1f} to {100 * ends[1]:+.1f} points"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def main() -> None:
    """Rewrite the page."""
    text = PAGE.read_text(encoding="utf-8")
    for start, end, told in ((START, END, figures()), (KEYS, END_OF_KEYS, keys())):
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{told}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
