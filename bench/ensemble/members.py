"""The members: four adapters of one base, each trained on a fifth of the training texts that no other has seen.

    python -m bench.ensemble.members [--out FOLDER] [NAME ...]     trains them anew

Members that saw disjoint data are wrong in different places, which is what a vote needs (bagging: Breiman 1996, with
disjoint parts instead of bootstrap samples). It is also how they come about: teams with data of their own. Because
training takes longer than a bench may, they are kept beside this file with their cards: attention only, rank 8, 1.9 MB.
`pooled` is what the teams would get if they put their texts together: one adapter that saw each of them once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import machine
from bench.ensemble.task import MAX_TOKENS, SOURCES, SYSTEM_PROMPT, Request, Split, split
from bench.watch import Lines
from serve_app import adapters
from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.catalogue import ModelFiles, resolve

BASE = "smollm2-135m-instruct"
FOLDER = Path(__file__).resolve().parent / "shipped"
NUM_PARTS = 5
PARTS = (0, 1, 2, 4)
"""That have a member. The texts of the other part are nobody's."""
POOLED = "pooled"
_NUM_JUDGED = 100
"""Validation texts for the card's figures before and after."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one adapter is trained."""

    name: str
    parts: tuple[int, ...]
    """Of NUM_PARTS, from 0."""
    epochs: float
    seed: int

    def rows(self, train: Sequence[Request]) -> list[Request]:
        """Its training texts."""
        size = len(train) // NUM_PARTS
        return [row for part in self.parts for row in train[part * size : (part + 1) * size]]


MEMBERS = tuple(Plan(f"intents-{part}", (part,), 1.5, part) for part in PARTS)


def shipped(base: ModelFiles) -> list[AdapterSpec]:
    """The members that are kept here, in order, verified against the base. Raises AdapterError."""
    return [_read(plan.name, base) for plan in MEMBERS]


def pooled(base: ModelFiles) -> AdapterSpec | None:
    """The adapter that saw every text, where it is there."""
    return _read(POOLED, base) if (FOLDER / POOLED).is_dir() else None


def _read(name: str, base: ModelFiles) -> AdapterSpec:
    return adapters.verify(adapters.load(FOLDER / name), base)


def train(plan: Plan, texts: Split, data: Path, out: Path) -> None:
    """One adapter, by the product's training, to `out/NAME`. Goes on where an earlier run was broken off."""
    from serve_app.training.dataset import read_dataset
    from serve_app.training.evaluate import EvaluationOptions
    from serve_app.training.options import TrainOptions
    from serve_app.training.rows import file_digest
    from serve_app.training.run import run

    out.mkdir(parents=True, exist_ok=True)
    learnt, judged = out / f"{plan.name}.train.jsonl", out / f"{plan.name}.eval.jsonl"
    _write(learnt, plan.rows(texts.train), {})
    _write(judged, texts.validation[:_NUM_JUDGED], {"group": "banking77", "metrics": ["exact", "loss"]})
    manifest = AdapterManifest(
        description="The intent of a bank customer's request, of the 77 of BANKING77.",
        system_prompt=SYSTEM_PROMPT,
        max_tokens=MAX_TOKENS,
        licence=["BANKING77 (Casanueva et al. 2020): CC BY 4.0."],
    )
    dataset = replace(
        read_dataset(learnt, judged, SYSTEM_PROMPT),
        manifest=manifest,
        sources={source: file_digest(data / source) for source in SOURCES},
        notes=[
            f"{len(plan.rows(texts.train))} texts; 1,000 more are held back for choices; no test text is among them."
        ],
    )
    options = TrainOptions(
        rank=8,
        alpha=16.0,
        target_modules=("q_proj", "k_proj", "v_proj", "o_proj"),
        learning_rate=2e-3,
        epochs=plan.epochs,
        rows_per_step=8,
        seed=plan.seed,
        dtype="bfloat16",
    )
    resume = (out / f"{plan.name}.run").exists()
    run(resolve(BASE), dataset, out / plan.name, options, EvaluationOptions(max_new_tokens=MAX_TOKENS), Lines(), resume)


def _write(path: Path, rows: Sequence[Request], more: dict[str, Any]) -> None:
    lines = (json.dumps({"prompt": row.text, "completion": row.intent} | more) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Train those that are named, or all members."""
    plans = {plan.name: plan for plan in (*MEMBERS, Plan(POOLED, PARTS, 1.0, 0))}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *plans], help=", ".join(plans))
    parser.add_argument("--out", type=Path, default=Path("members"), help="where NAME and NAME.run go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=machine.DATA)
    args = parser.parse_args()
    from serve_app.cli.training_progress import use_torch

    use_torch(args.threads, "cpu")
    texts = split(args.data)
    for name in args.names or [plan.name for plan in MEMBERS]:
        train(plans[name], texts, args.data, args.out)


if __name__ == "__main__":
    main()
