"""The legal specialist: yes or no on a contract clause, a ruling or a statute; and the type of a clause.

A model this small did not learn the bare decision on clauses, so it is taught to name the clause's type and to compare
that with the question. All from LegalBench, split by task and by clause: some clauses are held out of every task, and
some tasks are held out whole. A few general questions with answers written for this project keep free answers alive.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from importlib import resources
from pathlib import Path
from typing import Any

from serve_app.training.specialists.public_sets import Prepared, RoutingTests, normalised, read_records

SYSTEM_PROMPT = "Answer the legal question briefly."
SOURCE = "legalbench/all.jsonl"
HELD_OUT_TASKS = (
    "cuad_volume_restriction",
    "cuad_non_disparagement",
    "cuad_renewal_term",
    "cuad_audit_rights",
    "cuad_source_code_escrow",
    "cuad_anti_assignment",
)
"""Never trained on: does the skill carry over to a question that was not taught?"""
_OTHER_TASKS = ("overruling", "proa")
_FAMILIES = ("license", "liability|liquidated", "compete|exclusiv|competitive|solicit", "term|date|renewal|expiration",
             "ip_|joint", "price|minimum|volume|most_favored|revenue")  # fmt: skip
"""Questions of one family may both be true of one clause; invented negatives never pair two of them."""
_NUM_EVALUATION = {"cuad_seen_tasks": 150, "cuad_unseen_tasks": 80, "overruling": 50, "proa": 40, "clause_type": 80}
_HELD_OUT_PERCENT = 6
_MAX_TRAIN_CHARACTERS = 600
_PLAIN_SHARE = 0.35
_PLAIN = {
    "cuad_cap_on_liability": "Does this clause limit liability?",
    "cuad_governing_law": "Does this clause choose a governing law?",
    "cuad_insurance": "Does this clause require insurance?",
    "cuad_non_compete": "Does this clause forbid competing?",
    "cuad_exclusivity": "Does this clause make the deal exclusive?",
    "cuad_termination_for_convenience": "Can a party end the contract without cause under this clause?",
    "cuad_license_grant": "Does this clause grant a license?",
    "cuad_warranty_duration": "Does this clause give a warranty period?",
}
_TYPE_NAMES = {"ip": "IP", "rofr rofo rofn": "right of first refusal", "no solicit": "non solicitation"}
"""Rewordings of task names; a bare "no" in a name would read as the verdict."""


def prepare(data_dir: Path) -> Prepared:
    """Training and held-out rows; no held-out text, and no text of a routing test, is in training under any task."""
    tests = RoutingTests.read(data_dir)
    records = [row for row in read_records(data_dir, SOURCE) if _is_used(row["task"])]
    held_out = {normalised(row["text"]) for row in records if _is_held_out(row, tests)}
    rng = random.Random(0)
    seen = [
        row for row in records if normalised(row["text"]) not in held_out and len(row["text"]) <= _MAX_TRAIN_CHARACTERS
    ]
    train = _typed_pairs(seen, rng) + [_type_row(row, rng) for row in seen if _has_type(row)]
    train += [_bare_row(row, rng) for row in seen if row["task"] in _OTHER_TASKS] + _plain_questions()
    rng.shuffle(train)
    apart = [row for row in records if normalised(row["text"]) in held_out]
    candidates = [_evaluation_row(row, rng) for row in apart]
    candidates += [
        _type_row(row, rng) | {"group": "clause_type", "metrics": ["exact", "loss"]}
        for row in apart
        if _has_type(row) and row["task"] not in HELD_OUT_TASKS
    ]
    evaluation: list[dict[str, Any]] = []
    for group, num_rows in _NUM_EVALUATION.items():
        rows = [row for row in candidates if row["group"] == group]
        evaluation += rng.sample(rows, min(num_rows, len(rows)))
    return Prepared(
        train=train,
        evaluation=evaluation,
        system_prompt=SYSTEM_PROMPT,
        max_tokens=96,
        description="Yes or no on contract clauses, rulings and statutes; a demonstration, not legal advice.",
        licence=["LegalBench tasks cuad_*, overruling and proa (Guha et al. 2023): CC BY 4.0."],
        sources=[SOURCE],
        notes=[
            "Held out: every text that stands in a routing test file, "
            f"{_HELD_OUT_PERCENT} % of the other texts by hash, and the tasks {', '.join(HELD_OUT_TASKS)} whole.",
            f"Training texts over {_MAX_TRAIN_CHARACTERS} characters left out; held-out texts are not filtered.",
            "CUAD training answers name the clause's type, then yes or no: the type is the task of a positive pair; "
            "the negative is the same clause with a question of another family. LegalBench's own negatives, whose "
            "type is not known, are used for evaluation only.",
            "General questions (legal_plain.json) with answers were written for this project; no quality is claimed.",
        ],
    )


def _is_used(task: str) -> bool:
    return task.startswith("cuad_") or task in _OTHER_TASKS


def _is_held_out(row: dict[str, Any], tests: RoutingTests) -> bool:
    text = normalised(row["text"])
    by_hash = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100 < _HELD_OUT_PERCENT
    return row["task"] in HELD_OUT_TASKS or by_hash or tests.holds(row["text"])


def _typed_pairs(rows: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Each clause of known type with its own question, answered yes, and with a stranger's, answered no."""
    positives = [row for row in rows if _has_type(row)]
    questions = {row["task"]: row["question"] for row in positives}
    tasks_of: dict[str, set[str]] = {}
    for row in positives:
        tasks_of.setdefault(normalised(row["text"]), set()).add(row["task"])
    pairs = []
    for row in positives:
        known = tasks_of[normalised(row["text"])]
        strangers = [task for task in sorted(questions) if not any(_related(task, other) for other in known)]
        for task, word in ((row["task"], "yes"), (rng.choice(strangers), "no")):
            prompt = _layout(_asked(task, questions[task], rng), row["text"], rng)
            answer = f"This clause is about {type_name(row['task'])}, so {word}."
            pairs.append({"prompt": prompt, "completion": answer})
    return pairs


def _related(task: str, other: str) -> bool:
    return task == other or any(re.search(family, task) and re.search(family, other) for family in _FAMILIES)


def _asked(task: str, question: str, rng: random.Random) -> str:
    """LegalBench's question, mostly its first sentence alone, or as a person would ask."""
    draw = rng.random()
    if draw < _PLAIN_SHARE:
        return _PLAIN.get(task, f"Is this clause about {type_name(task)}?")
    if draw < 0.8:
        question = question.split("? ")[0].rstrip("?") + "?"
    return question.replace("the clause", "this clause") if rng.random() < 0.5 else question


def _bare_row(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    return {"prompt": _layout(row["question"], row["text"], rng), "completion": f"{row['answer']}."}


def type_name(task: str) -> str:
    """A CUAD task as a clause type.

    >>> type_name("cuad_ip_ownership_assignment"), type_name("cuad_rofr_rofo_rofn")
    ('IP ownership assignment', 'right of first refusal')
    """
    name = task.removeprefix("cuad_").replace("_", " ")
    for short, long in _TYPE_NAMES.items():
        name = re.sub(rf"\b{short}\b", long, name)
    return name


def _has_type(row: dict[str, Any]) -> bool:
    return bool(row["task"].startswith("cuad_") and row["answer"] == "Yes")


def _type_row(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    question = rng.choice(("What kind of clause is this?", "Name the type of this contract clause."))
    return {
        "prompt": _layout(question, row["text"], rng),
        "completion": f"This clause is about {type_name(row['task'])}.",
    }


def _evaluation_row(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    if row["task"] in HELD_OUT_TASKS:
        group = "cuad_unseen_tasks"
    else:
        group = "cuad_seen_tasks" if row["task"].startswith("cuad_") else row["task"]
    return {
        "prompt": _layout(row["question"], row["text"], rng),
        "completion": row["answer"],
        "group": group,
        "metrics": ["verdict"],
        "choices": ["Yes", "No"],
    }


def _layout(question: str, text: str, rng: random.Random) -> str:
    """One of three ways to write question and text, as the routing set has them."""
    return rng.choice((f"{text}\n\n{question}", f'{question} "{text}"', f"{question}\n{text}"))


def _plain_questions() -> list[dict[str, Any]]:
    text = resources.files(__package__).joinpath("legal_plain.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)
    return rows
