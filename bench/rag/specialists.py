"""The two adapters: trained on equally many tokens of the same rows, with and without passages before the question.

The ones that runs use are committed beside this file, with card, seed, digests and figures on validation topics;
the full run makes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.rag.kinds import CLOSED, GROUNDED, SMALL
from bench.rag.knowledge import SETTINGS
from bench.rag.task import FILES, MAX_TOKENS, SYSTEM_PROMPT, Question
from bench.watch import Lines
from serve_app.adapters import AdapterManifest, AdapterSpec, load, verify
from serve_app.catalogue import resolve
from serve_app.training.checkpoint import FILE_NAME as CHECKPOINT
from serve_app.training.dataset import read_dataset
from serve_app.training.evaluate import EvaluationOptions
from serve_app.training.options import TrainOptions
from serve_app.training.passages import Find, PassagePlan
from serve_app.training.run import run

TOKENS = 40_000
"""Of each adapter, prompts and passages included."""
ROWS = {"train": 400, "validation": 16}
"""Questions of each split: more than those tokens hold, and those that the card's figures are of."""
_LICENCE = [
    "MedQuAD (Ben Abacha and Demner-Fushman 2019): CC BY 4.0. Not medical advice.",
    "Adapter weights: Apache-2.0.",
]
_DESCRIPTIONS = {
    CLOSED: "Short answers to medical questions, learnt without documents: for bench/rag only. Not medical advice.",
    GROUNDED: "Short answers to medical questions from passages: for bench/rag only. Not medical advice.",
}


def train_both(
    rows: Mapping[str, Sequence[Question]],
    sources: dict[str, str],
    find: Find,
    folder: Path,
    say: Callable[[str], object],
) -> None:
    """Train what `folder` lacks. `rows`: questions of the splits `train` and `validation`; `sources`: files' digests.

    Of the test file only the pages are read, as passages that may stand before a question.
    """
    data = {split: _write(folder / f"{split}.jsonl", rows[split][:number]) for split, number in ROWS.items()}
    for name in (CLOSED, GROUNDED):
        if (folder / name / "adapter_model.safetensors").exists():
            continue
        plan = PassagePlan(find, "the pages of all splits", SETTINGS.limit, SETTINGS.passage_tokens)
        options = TrainOptions(
            rank=8, alpha=16.0, learning_rate=1e-3, token_budget=TOKENS, rows_per_step=4, dtype="bfloat16",
            device="cpu", seed=0,
        )  # fmt: skip
        made_from = {file: digest for file, digest in sources.items() if file != FILES["test"] or name == GROUNDED}
        dataset = replace(read_dataset(data["train"], data["validation"]), manifest=_manifest(name), sources=made_from)
        say(f"training {name}")
        run(
            resolve(SMALL),
            dataset,
            folder / name,
            options,
            EvaluationOptions(),
            Lines(say),
            resume=(folder / f"{name}.run" / CHECKPOINT).exists(),
            notes=["Made by `python -m bench.rag`, on a machine that others used too."],
            passages=plan if name == GROUNDED else None,
        )


def load_both(folder: Path) -> dict[str, AdapterSpec]:
    """The adapters of a folder, verified against the small model."""
    files = resolve(SMALL)
    return {name: verify(load(folder / name, name), files, False) for name in (CLOSED, GROUNDED)}


def _manifest(name: str) -> AdapterManifest:
    return AdapterManifest(
        description=_DESCRIPTIONS[name], system_prompt=SYSTEM_PROMPT, max_tokens=MAX_TOKENS, licence=_LICENCE
    )


def _write(path: Path, questions: Sequence[Question]) -> Path:
    """The trainer's file: questions are asked as every model is asked them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "messages": [
                    *({"role": turn.role, "content": turn.content} for turn in one.messages),
                    {"role": "assistant", "content": one.reference},
                ],
                "group": "medquad",
                "document": one.page,
            }
        )
        for one in questions
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
