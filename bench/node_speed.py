"""How fast a busy engine node is: the figures that turn the price of a core-hour into prices per token.

    python bench/node_speed.py [--models NAME,NAME] [--rows 8] [--usd-per-hour 0.04] [--repeats 3]

Prefill: 100-token prompts, one after the other. Decode: `--rows` rows in one batch without adapters, once each has its
first token. One thread, as a replica of the demo profile has; the models take turns, so that all see the same
neighbours on the machine. Prints a table and, last, one JSON line; writes bench/results/node_speed.json.
"""

import argparse
import json
import statistics
import time
from contextlib import nullcontext

import torch
from machine import RESULTS, describe
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from serve_app.catalogue import resolve
from serve_app.engine.load import load_model, read_shape
from serve_app.engine.loop import EngineLoop
from serve_app.engine.probe import choose_device, choose_dtype
from serve_app.engine.request import Discard, Request
from serve_app.engine.runner import Runner
from serve_app.engine.scheduler import Scheduler

PROMPT_TOKENS = 100
STEPS = 24


def load_runner(name: str, num_rows: int) -> tuple[Runner, str]:
    """A warm runner of a catalogue model, and the number type it chose."""
    path, device = resolve(name).path, choose_device("cpu")
    dtype = choose_dtype("auto", device, *read_shape(path))
    runner = Runner(load_model(path, dtype, device), [], num_rows, PROMPT_TOKENS + STEPS + 8)
    runner.warm_up()
    return runner, str(dtype).removeprefix("torch.")


def rates(runner: Runner, num_rows: int) -> tuple[float, float]:
    """(prefill tokens/s, decode tokens/s) of the engine's own loop."""
    loop = EngineLoop(Scheduler(num_rows, 0, prefill_tokens=PROMPT_TOKENS * num_rows), runner, (), nullcontext)
    for index in range(num_rows):
        loop.submit(Request(str(index), tuple(range(1000, 1000 + PROMPT_TOKENS)), STEPS + 1, Discard(), None))
    start_s = time.perf_counter()
    loop.step()
    prefilled_s = time.perf_counter()
    for _ in range(STEPS):
        loop.step()
    decoded_s = time.perf_counter()
    return num_rows * PROMPT_TOKENS / (prefilled_s - start_s), num_rows * STEPS / (decoded_s - prefilled_s)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="smollm2-135m-instruct,qwen2.5-coder-0.5b-instruct")
    parser.add_argument("--rows", default=8, type=int)
    parser.add_argument("--usd-per-hour", default=0.04, type=float, help="of the core that a busy replica uses")
    parser.add_argument("--repeats", default=3, type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    result = describe("torch", "transformers") | {"rows": args.rows, "usd_per_hour": args.usd_per_hour, "threads": 1}
    runners = {name: load_runner(name, args.rows) for name in args.models.split(",")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    for _ in range(args.repeats):
        for name, (runner, _dtype) in runners.items():
            found[name].append(rates(runner, args.rows))
    usd_per_s = args.usd_per_hour / 3600
    result["models"] = {
        name: {
            "dtype": runners[name][1],
            "prefill_tokens_per_s": round(prefill := statistics.median(pair[0] for pair in pairs), 1),
            "decode_tokens_per_s": round(decode := statistics.median(pair[1] for pair in pairs), 1),
            "input_usd_per_mtok": round(usd_per_s / prefill * 1e6, 4),
            "output_usd_per_mtok": round(usd_per_s / decode * 1e6, 4),
        }
        for name, pairs in found.items()
    }
    table = Table("model", *next(iter(result["models"].values())), title=f"{args.rows} rows, one thread")
    for name, figures in result["models"].items():
        table.add_row(name, *(str(value) for value in figures.values()))
    Console().print(table)
    (RESULTS / "node_speed.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
