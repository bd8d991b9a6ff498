"""Held-out queries with an answer that can be checked, from public data: what the cascade is measured on.

Each task is written as a client would ask it, with no examples and the same words for both models. No text of it is in
the training data of an adapter: their recipes keep these splits apart. A question that holds a training text of the
router, or that occurs a second time, is dropped (`fresh`).

`medquad` and `conala` have references but no exact check. Their scores are our own and favour a model that was trained
to write as the references do, which the small one was: cosine of sentence vectors >= .75 for the first, token F1 >= .6
for the second. So each figure about quality is also given over the other tasks alone (`APPROXIMATE`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from serve_app.training.specialists import recipe
from serve_app.training.specialists.public_sets import read_records

LETTERS = "ABCDE"
CODE_ONLY = "Reply with only the Python code."
APPROXIMATE = ("medquad", "conala")
"""Tasks whose score is a likeness to a reference; all others are checked exactly."""
_FEWEST_LETTERS = 30
"""Of a training text that counts as quoted where it stands inside a question; of shorter ones, equal questions do."""


@dataclass(frozen=True, slots=True)
class Task:
    """One query and how its answers are scored."""

    id: str
    """`task/row`: stable, so that results recorded earlier find their text again."""
    task: str
    question: str
    """The user's turn."""
    scorer: str
    """Name in `serve_app.labelling`."""
    reference: str
    choices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    max_tokens: int = 48


def _choice_prompt(question: str, choices: list[str]) -> str:
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return f"{question}\n{listed}\nReply with only the letter of the right choice."


def _multiple_choice(task: str, path: str) -> Callable[[Path], list[Task]]:
    def read(data: Path) -> list[Task]:
        return [
            Task(
                f"{task}/{index}",
                task,
                _choice_prompt(row["question"], row["choices"]),
                "choice",
                LETTERS[row["answer"]],
                tuple(row["choices"]),
                max_tokens=24,
            )
            for index, row in enumerate(read_records(data, path))
        ]

    return read


def _legal(data: Path) -> list[Task]:
    found = []
    for index, row in enumerate(recipe("legal")(data).evaluation):
        if "verdict" in row["metrics"]:
            group = f"legal_{row['group']}"
            found.append(Task(f"legal/{index}", group, row["prompt"], "verdict", row["completion"]))
    return found


def _medquad(data: Path) -> list[Task]:
    return [
        Task(f"medquad/{i}", "medquad", row["prompt"], "cosine", row["completion"], max_tokens=96)
        for i, row in enumerate(recipe("medical")(data).evaluation)
    ]


def _mbpp(data: Path) -> list[Task]:
    return [
        Task(
            f"mbpp/{row['task_id']}",
            "mbpp",
            f"{row['text'].strip()}\nIt must pass: {row['test_list'][0]}\n{CODE_ONLY}",
            "code",
            row["code"],
            tests=tuple(row["test_list"]),
            max_tokens=192,
        )
        for row in read_records(data, "mbpp/test.jsonl")
    ]


def _code(group: str) -> Callable[[Path], list[Task]]:
    def read(data: Path) -> list[Task]:
        rows = [row for row in recipe("code")(data).evaluation if row["group"] == group]
        return [
            Task(f"{group}/{i}", group, f"{row['prompt']}\n{CODE_ONLY}", "token_f1", row["completion"])
            for i, row in enumerate(rows)
        ]

    return read


def _svamp(data: Path) -> list[Task]:
    ask = "Work it out in one short sentence, then give the number."
    return [
        Task(f"svamp/{i}", "svamp", f"{row['question']}\n{ask}", "numeric", row["final"], max_tokens=160)
        for i, row in enumerate(read_records(data, "math_word_problems/svamp_all.jsonl"))
    ]


def _support(data: Path) -> list[Task]:
    return [
        Task(f"support/{i}", "support", row["prompt"], "contains", row["completion"], max_tokens=16)
        for i, row in enumerate(recipe("support")(data).evaluation)
    ]


READERS: dict[str, Callable[[Path], list[Task]]] = {
    "legal": _legal,
    "medquad": _medquad,
    "medmcqa": _multiple_choice("medmcqa", "medmcqa/test.jsonl"),
    "mbpp": _mbpp,
    "conala": _code("conala"),
    "svamp": _svamp,
    "arc": _multiple_choice("arc", "arc_challenge/test.jsonl"),
    "mmlu": _multiple_choice("mmlu", "mmlu/test.jsonl"),
    "support": _support,
}


def sample(data: Path, counts: dict[str, int], seed: int = 0) -> list[Task]:
    """At most so many of each task, the same each time; fewer where some are not `fresh`."""
    chosen: list[Task] = []
    for name, count in counts.items():
        rows = READERS[name](data)
        chosen += random.Random(f"{seed}/{name}").sample(rows, min(count, len(rows)))
    return fresh(chosen, router_texts(data))


def router_texts(data: Path) -> list[str]:
    """All texts that the shipped router is trained on."""
    own = machine.REPO / "serve_app" / "training" / "data"
    rows = []
    for path in (data / "routing" / "train.jsonl", *sorted(own.glob("router_*.jsonl"))):
        rows += [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [row["text"] for row in rows]


def fresh(tasks: Iterable[Task], known: Sequence[str]) -> list[Task]:
    """Without those that hold one of the `known` texts or repeat an earlier question, case and punctuation aside."""
    texts = {plain(text) for text in known} - {""}
    quotable = [text for text in texts if len(text) >= _FEWEST_LETTERS]
    kept, seen = [], set()
    for task in tasks:
        question = plain(task.question)
        if question in seen or question in texts or any(text in question for text in quotable):
            continue
        seen.add(question)
        kept.append(task)
    return kept


def plain(text: str) -> str:
    """Words in lower case, one space between them."""
    return " ".join(re.findall(r"\w+", text.lower()))
