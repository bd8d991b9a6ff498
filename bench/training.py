"""Training tokens a second against a plain PEFT loop: same base, rows, order, steps and threads, taking turns.

    python -m bench.training [--quick] [--json FILE] [--data code|medical|legal|own] [--threads N] [--seconds S]

    ours           as `headrace adapters train`: packed batches, shared beginnings once, fused layers, float32 masters
    padded         the same without packing (`--no-packing`): the projection at completion positions only
    peft           a plain PEFT loop: bfloat16 base and adapter, dynamic padding, torch's AdamW, the model's own loss
    peft_float32   the same with PEFT's default, the adapter in float32 under bfloat16 autocast

All get length-grouped rows and count tokens that are not padding, prompts included. Every contender trains a model of
its own from the same weights through the same steps, and all make a step before any makes the next: so the losses are
at equal tokens, and neighbours on the machine slow all of them alike. A ratio is the median over steps. Whether several
adapters at once would pay is bounded by `by_rows`: joining two adapters' rows cannot gain more than twice the rows of
one do. Rows come from the public data in HEADRACE_DATA; without it from a generator here. CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import torch
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.machine import DATA
from serve_app.catalogue import resolve
from serve_app.training.base import Trainee, load_trainee
from serve_app.training.dataset import read_dataset, write_prepared
from serve_app.training.lora import packed_nll, target_nll
from serve_app.training.optimiser import MasterAdamW
from serve_app.training.options import TrainOptions
from serve_app.training.packing import pack
from serve_app.training.plan import Example, encode, micro_batches, plan_steps
from serve_app.training.specialists import recipe

BASE = "smollm2-135m-instruct"
OPTIONS = TrainOptions(dtype="bfloat16", device="cpu", learning_rate=5e-4)
CONTENDERS = ("ours", "padded", "peft", "peft_float32")
HELD_OUT_ROWS = 32
WARM_STEPS = 1
"""Not counted: they pay for memory and thread pools."""
BY_ROWS = (8, 16, 32)


class Contender(Protocol):
    """One way to train, with a model of its own."""

    trainee: Trainee

    def step(self, rows: Sequence[Example]) -> float:
        """One update; the loss before it, nats a completion token."""
        ...


class Headrace:
    """This project's step, packed or padded, at a constant rate."""

    def __init__(self, base: Path, packing: bool) -> None:
        self.trainee = load_trainee(base, replace(OPTIONS, packing=packing))
        self._optimiser = MasterAdamW(self.trainee.trainable(), OPTIONS.learning_rate, 0.0)

    def step(self, rows: Sequence[Example]) -> float:
        num_targets = sum(row.num_targets for row in rows)
        total = 0.0
        for batch in micro_batches(rows, OPTIONS.micro_batch_tokens):
            loss = packed_nll(self.trainee, batch).sum() / num_targets
            loss.backward()
            self._optimiser.collect()
            total += loss.item()
        self._optimiser.step(1.0, OPTIONS.max_grad_norm)
        self.trainee.refresh()
        return total


class Peft:
    """The loop that a tutorial would end at, with what makes it fast: bfloat16, little padding, one pass a step."""

    def __init__(self, base: Path, float32_adapter: bool) -> None:
        self.trainee = load_trainee(base, replace(OPTIONS, packing=False))
        self._autocast = float32_adapter
        parameters = list(self.trainee.trainable().values())
        if float32_adapter:
            for parameter in parameters:
                parameter.data = parameter.data.float()
        self._parameters = parameters
        self._adamw = torch.optim.AdamW(parameters, OPTIONS.learning_rate, (0.9, 0.99), weight_decay=0.0, foreach=True)

    def step(self, rows: Sequence[Example]) -> float:
        num_targets = sum(row.num_targets for row in rows)
        total = 0.0
        for batch in micro_batches(rows, OPTIONS.micro_batch_tokens):
            longest = max(len(row.token_ids) for row in batch)
            token_ids = torch.zeros(len(batch), longest, dtype=torch.long)
            mask = torch.zeros_like(token_ids)
            labels = torch.full_like(token_ids, -100)
            for at, row in enumerate(batch):
                token_ids[at, : len(row.token_ids)] = torch.tensor(row.token_ids)
                mask[at, : len(row.token_ids)] = 1
                labels[at, row.num_prompt_tokens : len(row.token_ids)] = torch.tensor(
                    row.token_ids[row.num_prompt_tokens :]
                )
            with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
                out = self.trainee.model(
                    input_ids=token_ids,
                    attention_mask=mask,
                    labels=labels,
                    use_cache=False,
                    num_items_in_batch=num_targets,
                )
            out.loss.backward()
            total += out.loss.item()
        torch.nn.utils.clip_grad_norm_(self._parameters, OPTIONS.max_grad_norm)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return total


def make(name: str, base: Path) -> Contender:
    """A contender with a freshly loaded model."""
    if name in ("ours", "padded"):
        return Headrace(base, packing=name == "ours")
    return Peft(base, float32_adapter=name == "peft_float32")


def rows_of(name: str, tokenizer: Any) -> tuple[list[Example], list[Example], str]:
    """Training and held-out rows in tokens, and where they come from."""
    if name != "own" and not DATA.is_dir():
        name, where = "own", f"generated here: there is no folder {DATA.name} of public data (HEADRACE_DATA)"
    else:
        where = "generated here" if name == "own" else f"the recipe {name} on public data"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if name == "own":
            _write_own(data / "train.jsonl", seed=1, num_rows=2000)
            _write_own(data / "eval.jsonl", seed=2, num_rows=200)
            dataset = read_dataset(data / "train.jsonl", data / "eval.jsonl", "You answer briefly and exactly.")
        else:
            write_prepared(recipe(name)(DATA), DATA, data)
            dataset = read_dataset(data)
        train = encode(dataset.train, tokenizer, OPTIONS.max_length_tokens).examples
        held_out = encode(dataset.evaluation, tokenizer, OPTIONS.max_length_tokens).examples
    return list(train), random.Random(0).sample(held_out, min(HELD_OUT_ROWS, len(held_out))), where


def _write_own(path: Path, seed: int, num_rows: int) -> None:
    """Orders to be summed up: 40 to 120 tokens a row."""
    rng = random.Random(seed)
    goods = ("apples", "nails", "sheets of paper", "litres of paint", "metres of rope", "bags of cement")
    lines = []
    for number in range(num_rows):
        order = [(rng.randint(1, 60), rng.choice(goods), rng.randint(1, 9)) for _ in range(rng.randint(1, 6))]
        asked = "; ".join(f"{count} {what} at {price} each" for count, what, price in order)
        answer = "; ".join(f"{what}: {count * price}" for count, what, price in order)
        row = {"prompt": f"Order {seed}-{number}: {asked}. What does each item cost?", "completion": answer}
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines), encoding="utf-8")


def tokens(rows: Sequence[Example]) -> int:
    """Not padding, prompts included."""
    return sum(len(row.token_ids) for row in rows)


def held_out_loss(trainee: Trainee, rows: Sequence[Example]) -> float:
    """By the same code for all: padded, no autocast."""
    kept = {name: parameter.data for name, parameter in trainee.trainable().items()}
    for parameter in trainee.trainable().values():
        parameter.data = parameter.data.to(trainee.dtype)
    with torch.no_grad():
        batches = micro_batches(rows, OPTIONS.micro_batch_tokens)
        total = sum(float(target_nll(trainee, batch).sum()) for batch in batches)
    for name, parameter in trainee.trainable().items():
        parameter.data = kept[name]
    return total / sum(row.num_targets for row in rows)


def race(
    base: Path, train: Sequence[Example], held_out: Sequence[Example], seconds: float
) -> tuple[dict[str, Any], Contender]:
    """Turns until the time is over; the first of a round moves on by one each round."""
    contenders = {name: make(name, base) for name in CONTENDERS}
    start = held_out_loss(contenders["ours"].trainee, held_out)
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    losses: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    counts: list[int] = []
    nodes: list[int] = []
    loads: list[float] = []
    until = time.monotonic() + seconds
    for index, rows in enumerate(plan_steps(train, replace(OPTIONS, epochs=20))):
        if time.monotonic() > until and len(counts) > WARM_STEPS:
            break
        turn = CONTENDERS[index % len(CONTENDERS) :] + CONTENDERS[: index % len(CONTENDERS)]
        for name in turn:
            started = time.perf_counter()
            losses[name].append(contenders[name].step(rows))
            times[name].append(time.perf_counter() - started)
        counts.append(tokens(rows))
        batches = micro_batches(rows, OPTIONS.micro_batch_tokens)
        nodes.append(sum(pack(batch, torch.device("cpu")).num_nodes for batch in batches))
        loads.append(os.getloadavg()[0])
    timed = slice(WARM_STEPS, None)
    ratios = {
        name: statistics.median(
            other / mine for other, mine in zip(times[name][timed], times["ours"][timed], strict=True)
        )
        for name in CONTENDERS[1:]
    }
    tenth = max(1, len(counts) // 5)
    return {
        "steps": len(counts),
        "tokens": sum(counts),
        "processed_share": round(sum(nodes) / sum(counts), 3),
        "load_1min_during": round(statistics.mean(loads), 2),
        "tokens_per_s": {name: round(sum(counts[timed]) / sum(times[name][timed]), 1) for name in CONTENDERS},
        "ratio_to": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "training_loss_last_fifth": {name: round(statistics.mean(losses[name][-tenth:]), 4) for name in CONTENDERS},
        "held_out_loss_before": round(start, 4),
        "held_out_loss": {
            name: round(held_out_loss(contender.trainee, held_out), 4) for name, contender in contenders.items()
        },
    }, contenders["ours"]


def by_rows(ours: Contender, train: Sequence[Example]) -> dict[str, Any]:
    """Processed tokens a second with more rows in a step, shared beginnings counted once."""
    found: dict[int, list[float]] = {size: [] for size in BY_ROWS}
    plans = {size: plan_steps(train, replace(OPTIONS, rows_per_step=size, seed=7))[:3] for size in BY_ROWS}
    for at in range(3):
        for size in BY_ROWS:
            batches = micro_batches(plans[size][at], OPTIONS.micro_batch_tokens)
            num_nodes = sum(pack(batch, torch.device("cpu")).num_nodes for batch in batches)
            started = time.perf_counter()
            ours.step(plans[size][at])
            found[size].append(num_nodes / (time.perf_counter() - started))
    return {str(size): round(statistics.median(rates), 1) for size, rates in found.items()}


def memory_mib(name: str, data: str, threads: int) -> dict[str, int]:
    """Peak of a process of its own: loaded, and after a step of the longest rows."""
    command = [sys.executable, "-m", "bench.training", "--memory-of", name, "--data", data, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=machine.REPO)
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _memory_of(name: str, data: str) -> dict[str, int]:
    contender = make(name, resolve(BASE).path)
    loaded = _peak_mib()
    train, _, _ = rows_of(data, contender.trainee.tokenizer)
    longest = max(plan_steps(train, OPTIONS), key=tokens)
    contender.step(longest)
    return {"loaded": loaded, "peak": _peak_mib()}


def _peak_mib() -> int:
    """Of this process. Not `ru_maxrss`: that begins with what the process was started from had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None, "Linux only"
    return int(found[1]) // 1024


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    table = Table("", "tokens/s", "ours is x", "held-out loss", "peak MiB", box=None)
    for name in CONTENDERS:
        ratio = result["ratio_to"].get(name)
        table.add_row(
            name, f"{result['tokens_per_s'][name]:.0f}", f"{ratio:.2f}" if ratio else "",
            f"{result['held_out_loss'][name]:.3f}", str(result["memory_mib"][name]["peak"]),
        )  # fmt: skip
    console = Console(stderr=True)
    console.print(table)
    console.print(
        f"{result['steps']} steps, {result['tokens']} tokens of {result['rows']}; {result['processed_share']:.0%} of "
        f"them processed, the rest shared. Held-out loss before: {result['held_out_loss_before']:.3f}."
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within five minutes")
    parser.add_argument("--json", type=Path, help="where to write the result; default: bench/results/training.json")
    parser.add_argument("--data", default="code", choices=("code", "medical", "legal", "own"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="of the turns; default: 600, quick: 150")
    parser.add_argument("--memory-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(json.dumps(_memory_of(args.memory_of, args.data)))
        return
    circumstances = machine.describe("torch", "transformers", "peft")
    base = resolve(BASE)
    train, held_out, where = rows_of(args.data, load_trainee(base.path, OPTIONS).tokenizer)
    result: dict[str, Any] = {"machine": circumstances | {"threads": args.threads}, "base": BASE, "rows": where}
    raced, ours = race(base.path, train, held_out, args.seconds or (120 if args.quick else 600))
    result |= raced
    if not args.quick:
        result["by_rows"] = by_rows(ours, train)
    result["memory_mib"] = {name: memory_mib(name, args.data, args.threads) for name in CONTENDERS}
    result["speedup"] = min(result["ratio_to"]["peft"], result["ratio_to"]["peft_float32"])
    show(result)
    path = args.json or machine.RESULTS / "training.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
