"""What int8 and int4 products cost in quality: negative log-likelihood of written answers under the bare base.

    OMP_NUM_THREADS=1 python -m bench.quantisation [--model smollm2-135m-instruct] [--answers 200] [--tokens 96]

Answers of people to questions (self-instruct's seed tasks and MedQuAD's test part, half and half), in the model's chat
template; only the answers' tokens count. `head` says whether the output layer is of that kind too or stays plain.
What limits it: one small base, English, no generation; the intervals are over answers, not over models. The catalogue's
bases were converted from files of about 4 bits per weight (`weights_from` in the result). SmolLM2's is Q4_1, the very
grid of `int4`, which therefore loses next to nothing on its layers; a base that was never in 4 bits loses more.
Writes bench/results/quantisation.json and prints it as the last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer

from bench import machine
from bench.machine import DATA
from serve_app.catalogue import entries, resolve
from serve_app.engine.linear import KINDS, make_linear
from serve_app.engine.load import load_model

SOURCES = {
    "self_instruct_seed/all.jsonl": ("instruction", "input", "output"),
    "medquad/test.jsonl": ("question", None, "answer"),
}
"""File -> its fields for question, an addition to it, and answer."""
MAX_PROMPT_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of a prompt with its answer; the answer begins at `start`."""

    ids: torch.Tensor
    """[1, tokens]"""
    start: int


@dataclass(frozen=True, slots=True)
class Score:
    """One answer under one kind."""

    nll: float
    """Nats, summed over the answer's tokens."""
    best: torch.Tensor
    """The likeliest token at each place of the answer."""


def read_samples(path: Path, num_answers: int, max_tokens: int) -> list[Sample]:
    """Evenly from both sources, in file order; prompts that are too long are left out, answers are cut."""
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    samples: list[Sample] = []
    for index, (name, fields) in enumerate(SOURCES.items(), start=1):
        for question, answer in _pairs(DATA / name, *fields):
            chat = [{"role": "user", "content": question}]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            prompt = tokenizer.encode(text, add_special_tokens=False)
            if len(prompt) > MAX_PROMPT_TOKENS:
                continue
            ids = prompt + tokenizer.encode(answer, add_special_tokens=False)[:max_tokens]
            samples.append(Sample(torch.tensor([ids]), len(prompt)))
            if len(samples) >= num_answers * index // len(SOURCES):
                break
    return samples


def _pairs(path: Path, question: str, addition: str | None, answer: str) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked = "\n\n".join(row[name] for name in (question, addition) if name and row[name])
        if asked.strip() and row[answer].strip():
            yield asked, row[answer]


def convert(body: nn.Module, kind: str) -> None:
    """Every linear layer of the body in that kind."""
    for path, layer in [(path, layer) for path, layer in body.named_modules() if isinstance(layer, nn.Linear)]:
        parent, _, name = path.rpartition(".")
        setattr(body.get_submodule(parent), name, make_linear(kind, [layer]))


def score(body: nn.Module, heads: dict[str, nn.Module], samples: list[Sample]) -> dict[str, list[Score]]:
    """Head name -> the scores of all samples."""
    found: dict[str, list[Score]] = {name: [] for name in heads}
    for sample in samples:
        with torch.inference_mode():
            hidden = body(sample.ids, use_cache=False).last_hidden_state[:, sample.start - 1 : -1]
            for name, head in heads.items():
                logits = head(hidden)[0].float()
                nll = functional.cross_entropy(logits, sample.ids[0, sample.start :], reduction="sum")
                found[name].append(Score(float(nll), logits.argmax(-1)))
    return found


def compare(scores: list[Score], plain: list[Score]) -> dict[str, Any]:
    """Means per token, and what they lose to plain: 95 % interval over answers (ratio of sums, linearised)."""
    lengths = np.array([len(one.best) for one in plain])
    nll = np.array([one.nll for one in scores])
    lost = nll - np.array([one.nll for one in plain])
    mean_lost = lost.sum() / lengths.sum()
    spread = 1.96 * float(np.sqrt(((lost - mean_lost * lengths) ** 2).sum())) / lengths.sum()
    same = sum(int(torch.eq(one.best, other.best).sum()) for one, other in zip(scores, plain, strict=True))
    return {
        "nll_per_token": round(float(nll.sum() / lengths.sum()), 4),
        "perplexity": round(float(np.exp(nll.sum() / lengths.sum())), 2),
        "nll_lost": round(float(mean_lost), 4),
        "nll_lost_95": [round(float(mean_lost - spread), 4), round(float(mean_lost + spread), 4)],
        "same_best_token": round(same / int(lengths.sum()), 4),
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """How much was measured, and one row per kind and head."""
    path, cpu = resolve(args.model).path, torch.device("cpu")
    samples = read_samples(path, args.answers, args.tokens)
    rows: list[dict[str, Any]] = []
    plain: list[Score] = []
    for kind in KINDS:
        model = load_model(path, torch.bfloat16, cpu)
        heads = {"plain": make_linear("plain", [model.lm_head])}
        if kind != "plain":
            heads[kind] = make_linear(kind, [model.lm_head])
        convert(model.model, kind)
        for head, scores in score(model.model, heads, samples).items():
            plain = plain or scores  # the first kind
            rows.append({"linear": kind, "head": head, **compare(scores, plain)})
    return {"answers": len(samples), "answer_tokens": sum(len(one.best) for one in plain), "results": rows}


def weights_from(model: str) -> str:
    """The file that the base was converted from, or the model's own name where there was none."""
    entry = entries().get(model)
    return entry.artefact.file if entry and entry.artefact else model


def main() -> None:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--answers", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=96, help="of an answer; the rest is cut")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "quantisation.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    facts = machine.describe("torch", "transformers") | {"bench": "quantisation", "model": args.model}
    facts["weights_from"] = weights_from(args.model)
    result = facts | {"dtype": "bfloat16", "unit": "nats per answer token", **measure(args)}
    table = Table("linear", "head", "nll", "perplexity", "lost", "95 %", "same best", title=args.model)
    for row in result["results"]:
        table.add_row(row["linear"], row["head"], *(str(row[name]) for name in list(row)[2:]))
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
