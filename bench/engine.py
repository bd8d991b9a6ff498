"""Decode speed of the engine with 8 adapters in one batch, beside PEFT's mixed batch, interleaved in one run.

    python bench/engine.py [--model smollm2-135m-instruct] [--rows 1,8,32] [--steps 24] [--repeats 3] [--threads 2]

Tokens per second are counted once every row has its first token. Same model, dtype, threads, prompts (100 random
tokens) and adapters (rank 16, all linear layers, random weights) for all:

    mixed     this engine, adapters rotating over the rows
    single    this engine, one adapter for all rows
    base      this engine, no adapter used
    peft      PeftModel with adapter_names, one forward over all rows, its own growing cache

What limits it: a decode step reads all weights once for all rows, so small batches are bound by memory; the share of
Python per layer shows at one row. Prints a table and, last, one JSON line; writes bench/results/engine.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import machine
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from serve_app.adapters import AdapterSpec, load
from serve_app.catalogue import resolve
from serve_app.engine.load import cache_argument, load_model, read_adapters, read_shape
from serve_app.engine.loop import EngineLoop
from serve_app.engine.probe import choose_device, choose_dtype
from serve_app.engine.request import Discard, Request
from serve_app.engine.runner import Runner
from serve_app.engine.scheduler import Scheduler

NUM_ADAPTERS = 8
RANK = 16
PROMPT_TOKENS = 100
REPO = Path(__file__).resolve().parent.parent


def make_adapters(model_path: Path, folder: Path) -> list[AdapterSpec]:
    """NUM_ADAPTERS PEFT folders of random weights on all linear layers."""
    base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.bfloat16)
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear"))
    adapters = []
    for index in range(NUM_ADAPTERS):
        torch.manual_seed(index)
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(parameter, std=0.02)
        path = folder / f"adapter-{index}"
        model.save_pretrained(path)
        adapters.append(load(path, path.name))
    return adapters


def make_prompts(num_rows: int, vocab_size: int) -> list[list[int]]:
    """Random token ids, all of one length so that PEFT needs no padding."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (num_rows, PROMPT_TOKENS), generator=generator).tolist()


def engine_rate(runner: Runner, adapters: Sequence[int | None], prompts: Sequence[Sequence[int]], steps: int) -> float:
    """Tokens per second of the true loop over `steps` decode steps."""
    scheduler = Scheduler(len(prompts), 0, prefill_tokens=PROMPT_TOKENS * len(prompts))
    loop = EngineLoop(scheduler, runner, (), nullcontext)
    for index, (adapter, prompt) in enumerate(zip(adapters, prompts, strict=True)):
        loop.submit(Request(f"{index}", tuple(prompt), steps + 2, Discard(), adapter))
    loop.step()  # prefill: every row has its first token
    loop.step()  # a decode step that is not timed
    start_s = time.perf_counter()
    for _ in range(steps):
        loop.step()
    return len(prompts) * steps / (time.perf_counter() - start_s)


def peft_rate(model: Any, names: Sequence[str], prompts: Sequence[Sequence[int]], steps: int) -> float:
    """Tokens per second of greedy decoding by PEFT with one adapter per row."""
    cache_name = cache_argument(model.get_base_model())
    with torch.inference_mode():
        output = model(input_ids=torch.tensor(prompts), use_cache=True, logits_to_keep=1, adapter_names=list(names))
        start_s = 0.0
        for step in range(steps + 1):
            if step == 1:  # the first step is not timed
                start_s = time.perf_counter()
            output = model(
                input_ids=output.logits[:, -1].argmax(-1, keepdim=True),
                use_cache=True,
                adapter_names=list(names),
                **{cache_name: getattr(output, cache_name)},
            )
    return len(prompts) * steps / (time.perf_counter() - start_s)


def load_peft(path: Path, adapters: Sequence[AdapterSpec], dtype: torch.dtype) -> Any:
    """PEFT at its best: adapters in the model's dtype and not, as by default, in float32."""
    base = load_model(path, dtype, torch.device("cpu"))
    first, *others = adapters
    model = PeftModel.from_pretrained(base, first.path, first.name, autocast_adapter_dtype=False).eval()
    for adapter in others:
        model.load_adapter(adapter.path, adapter_name=adapter.name, autocast_adapter_dtype=False)
    return model


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One record per batch size. Sets `args.dtype` to the one used."""
    path, device = resolve(args.model).path, choose_device("cpu")
    dtype = choose_dtype(args.dtype, device, *read_shape(path))
    args.dtype = str(dtype).removeprefix("torch.")
    adapters = make_adapters(path, folder)
    model = load_model(path, dtype, device)
    runner = Runner(model, read_adapters(adapters, model), max(args.rows), PROMPT_TOKENS + args.steps + 8)
    runner.warm_up()
    peft = load_peft(path, adapters, dtype)
    records = []
    for num_rows in args.rows:
        prompts = make_prompts(num_rows, model.config.vocab_size)
        turn = [index % NUM_ADAPTERS for index in range(num_rows)]
        names = [adapters[index].name for index in turn]
        ways = {
            "mixed": partial(engine_rate, runner, turn, prompts, args.steps),
            "single": partial(engine_rate, runner, [0] * num_rows, prompts, args.steps),
            "base": partial(engine_rate, runner, [None] * num_rows, prompts, args.steps),
            "peft": partial(peft_rate, peft, names, prompts, args.steps),
        }
        records.append({"rows": num_rows, **race(ways, args.repeats)})
    return records


def race(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Median rate of each way, taking turns so that all see the same neighbours on the machine."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            rates[name].append(way())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rounded = {name: round(rate, 1) for name, rate in medians.items()}
    return {**rounded, "times_peft": round(medians["mixed"] / medians["peft"], 2)}


def circumstances(args: argparse.Namespace) -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    return machine.describe("torch", "transformers", "peft") | {
        "model": args.model,
        "dtype": args.dtype,
        "threads": args.threads,
        "steps": args.steps,
        "repeats": args.repeats,
        "adapters": NUM_ADAPTERS,
        "rank": RANK,
        "prompt_tokens": PROMPT_TOKENS,
        "unit": "decode tokens/s, median",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="catalogue name or folder")
    parser.add_argument("--rows", default="1,8,32", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--steps", default=24, type=int)
    parser.add_argument("--repeats", default=3, type=int)
    parser.add_argument("--threads", default=os.cpu_count(), type=int)
    parser.add_argument("--dtype", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--out", default=REPO / "bench" / "results" / "engine.json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft")
    facts = circumstances(args)
    with tempfile.TemporaryDirectory() as folder:
        records = measure(args, Path(folder))
    result = {**facts, "dtype": args.dtype, "load_1min_after": round(os.getloadavg()[0], 2), "results": records}
    table = Table(
        title=f"decode tokens/s, {args.model}, {args.dtype}, {args.threads} threads, load {facts['load_1min_before']}"
    )
    for column in records[0]:
        table.add_column(column, justify="right")
    for record in records:
        table.add_row(*(str(value) for value in record.values()))
    Console().print(table)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
