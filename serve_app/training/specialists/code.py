"""The code specialist: one shell command (nl2bash), one Python line (CoNaLa) or one function (MBPP), no chatter."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from serve_app.training.specialists.public_sets import Prepared, RoutingTests, read_records

SYSTEM_PROMPT = "Reply with only the shell command or Python code."
_NUM_TRAIN = {"nl2bash": 1500, "conala": 800, "mbpp": 250}
_NUM_EVALUATION = {"nl2bash": 250, "conala": 200, "mbpp": 120}
_MAX_CODE_CHARACTERS = 400
"""Longer training answers cost many tokens for few lessons."""
_METRICS = {"nl2bash": ["template", "exact", "loss"], "conala": ["token_f1", "exact", "loss"], "mbpp": ["loss"]}


def prepare(data_dir: Path) -> Prepared:
    """Training rows from the train splits, evaluation rows from the test splits; MBPP tests are shown, not run."""
    tests = RoutingTests.read(data_dir)
    rng = random.Random(0)
    train: list[dict[str, Any]] = []
    evaluation: list[dict[str, Any]] = []
    for group, reader in (("nl2bash", _nl2bash), ("conala", _conala), ("mbpp", _mbpp)):
        held_out = reader(data_dir, "test")
        evaluation += [
            row | {"group": group, "metrics": _METRICS[group]}
            for row in rng.sample(held_out, min(_NUM_EVALUATION[group], len(held_out)))
        ]
        rows = [row for row in reader(data_dir, "train") if len(row["completion"]) <= _MAX_CODE_CHARACTERS]
        rows = tests.without(rows, "prompt")
        train += rng.sample(rows, min(_NUM_TRAIN[group], len(rows)))
    rng.shuffle(train)
    return Prepared(
        train=train,
        evaluation=evaluation,
        system_prompt=SYSTEM_PROMPT,
        max_tokens=128,
        description="Shell commands, Python one-liners and small Python functions, with no explanation.",
        licence=[
            "nl2bash (Lin et al. 2018): MIT.",
            "CoNaLa, curated (Yin et al. 2018): MIT; the questions come from Stack Overflow (CC BY-SA).",
            "MBPP (Austin et al. 2021): CC BY 4.0.",
        ],
        sources=[f"{name}/{split}.jsonl" for name in _NUM_TRAIN for split in ("train", "test")],
        notes=[
            f"{tests.num_dropped} training rows left out because their text stands in a routing test file.",
            f"Training answers over {_MAX_CODE_CHARACTERS} characters left out; evaluation answers are not filtered.",
        ],
    )


def _nl2bash(data_dir: Path, split: str) -> list[dict[str, Any]]:
    records = read_records(data_dir, f"nl2bash/{split}.jsonl")
    return [{"prompt": record["prompt"], "completion": record["completion"]} for record in records]


def _conala(data_dir: Path, split: str) -> list[dict[str, Any]]:
    records = read_records(data_dir, f"conala/{split}.jsonl")
    return [
        {"prompt": record["rewritten_intent"] or record["intent"], "completion": record["snippet"].strip()}
        for record in records
        if record["snippet"].strip()
    ]


def _mbpp(data_dir: Path, split: str) -> list[dict[str, Any]]:
    """The task with its first test, which is what names the function."""
    records = read_records(data_dir, f"mbpp/{split}.jsonl")
    return [
        {
            "prompt": f"{record['text'].strip()}\nIt must pass: {record['test_list'][0]}",
            "completion": record["code"].replace("\t", "    ").strip(),
        }
        for record in records
    ]
