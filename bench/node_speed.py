"""How fast a busy engine node is: the figures that turn the price of a core-hour into prices per token.

    python -m bench.node_speed [--models NAME,NAME] [--rows 8] [--usd-per-hour 0.04] [--repeats 3]

Prefill: the 100-token prompts of `--rows` rows in one pass. Decode: the same rows in one batch, without adapters, once
each has its first token. One thread, as a replica of the demo profile has; the models take turns, so that all see the
same neighbours on the machine. Prints a table and, last, one JSON line; writes bench/results/node_speed.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.table import Table
from transformers.utils import logging as transformers_logging

from bench.machine import RESULTS, describe
from serve_app.catalogue import cache_dir, resolve
from serve_app.engine.assembly import Assembly, assemble, make_loop
from serve_app.engine.loop import EngineLoop
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Discard, Request

PROMPT_TOKENS = 100
STEPS = 24


@dataclass
class Node:
    """An engine as a node has it, stepped here in place of its thread."""

    assembly: Assembly
    loop: EngineLoop
    num_rows: int
    serial: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def make(cls, name: str, num_rows: int) -> Node:
        """Warm, of a catalogue model, without adapters."""
        options = EngineOptions(
            device="cpu",
            max_rows=num_rows,
            max_context_tokens=PROMPT_TOKENS + STEPS + 8,
            step_tokens=(PROMPT_TOKENS + 1) * num_rows,
            prefix_slots=0,
            adapter_slots=1,
        )
        assembly = assemble(resolve(name).path, options, cache_dir() / "kernels")
        assembly.runner.warm_up()
        return cls(assembly, make_loop(assembly, lambda slot, version: None, (), nullcontext), num_rows)

    def rates(self) -> tuple[float, float]:
        """(prefill tokens/s, decode tokens/s). No two prompts begin alike: nothing is reused."""
        for _ in range(self.num_rows):
            serial = next(self.serial)
            prompt_ids = tuple(1000 + (serial + place * (serial + 1)) % 997 for place in range(PROMPT_TOKENS))
            self.loop.submit(Request(str(serial), prompt_ids, STEPS + 1, Discard()))
        start_s = time.perf_counter()
        self.loop.step()
        prefilled_s = time.perf_counter()
        for _ in range(STEPS):
            self.loop.step()
        decoded_s = time.perf_counter()
        load = self.loop.load()
        assert not load.active_rows and not load.prefixes.reused_tokens
        num_prompt_tokens, num_decoded = self.num_rows * PROMPT_TOKENS, self.num_rows * STEPS
        return num_prompt_tokens / (prefilled_s - start_s), num_decoded / (decoded_s - prefilled_s)


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
    nodes = {name: Node.make(name, args.rows) for name in args.models.split(",")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in nodes}
    for _ in range(args.repeats):
        for name, node in nodes.items():
            found[name].append(node.rates())
    usd_per_s = args.usd_per_hour / 3600
    result["models"] = {
        name: {
            "dtype": str(nodes[name].assembly.choice.dtype).removeprefix("torch."),
            "linear": nodes[name].assembly.choice.kind,
            "kernels": nodes[name].assembly.kernels,
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
