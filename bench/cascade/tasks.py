"""Held-out queries with an answer that can be checked, from public data: what the cascade is measured on.

Each task is written as a client would ask it, with no examples and the same words for both models. No text of it is in
the training data of an adapter (their recipes keep these splits apart) or of the router.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serve_app.training.specialists import recipe
from serve_app.training.specialists.public_sets import read_records

LETTERS = "ABCDE"
CODE_ONLY = "Reply with only the Python code."


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
        Task(f"medquad/{i}", "medquad", row["prompt"], "rouge_l", row["completion"], max_tokens=96)
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
    """So many of each task, the same each time."""
    chosen: list[Task] = []
    for name, count in counts.items():
        rows = READERS[name](data)
        chosen += random.Random(f"{seed}/{name}").sample(rows, min(count, len(rows)))
    return chosen
