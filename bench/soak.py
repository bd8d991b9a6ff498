"""An hour's traffic of mixed requests in as little time as the engine needs, and what it does to memory.

    python -m bench.soak [--requests 3600] [--threads N] [--json FILE]

3600 requests, one a second for an hour, sent as fast as 64 may wait: 100 adapters known and 32 resident, popularity by
Zipf, short prompts (half of them beginning alike) and answers of 1 to 8 tokens, one in ten cancelled on the way, one in
twenty with a deadline too short. Resident memory of the process is read every tenth of the way. Flat means: the second
half adds no more than a few MiB to what the first half took. Writes bench/results/soak.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.progress import track

from bench import machine
from bench.engine.arrivals import Clocked, LiveEngine, zipf
from bench.engine.material import Material, make_adapters
from serve_app.catalogue import resolve
from serve_app.core import FinishReason, HeadraceError, Usage
from serve_app.engine.load import read_config
from serve_app.engine.request import Request, SampledToken

KNOWN, RESIDENT, ROWS, WAITING = 100, 32, 16, 64
SHARED_PREFIX_TOKENS = 32


class Counted(Clocked):
    """A Sink that makes room for the next request when it ends."""

    def __init__(self, adapter: str, room: threading.Semaphore) -> None:
        super().__init__(adapter, time.perf_counter())
        self.room = room

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        """See engine.request.Sink."""
        done = super().token(token, finish, usage)
        if finish is not None:
            self.room.release()
        return done

    def fail(self, error: HeadraceError) -> None:
        """See engine.request.Sink."""
        super().fail(error)
        self.room.release()


def soak(engine: LiveEngine, vocab: int, num_requests: int) -> dict[str, Any]:
    """Send them all; counts of ends, and resident MiB along the way."""
    chance, room, process = random.Random(0), threading.Semaphore(WAITING), psutil.Process()
    shared = tuple(chance.randrange(vocab) for _ in range(SHARED_PREFIX_TOKENS))
    popularity, sinks, cancelled = zipf(KNOWN), [], 0
    memory_mib: list[float] = []
    start_s = time.perf_counter()
    for number in track(range(num_requests), "requests"):
        if number % (num_requests // 10) == 0:
            memory_mib.append(round(process.memory_info().rss / 2**20, 1))
        prompt = tuple(chance.randrange(vocab) for _ in range(chance.randrange(4, 24)))
        version = chance.choices(engine.versions, popularity)[0]
        room.acquire()
        sink = Counted(version, room)
        sinks.append(sink)
        deadline_s = time.monotonic() + 0.01 if chance.random() < 0.05 else None
        prompt = shared + prompt if chance.random() < 0.5 else prompt
        request = Request(
            f"{number}", prompt, chance.randrange(1, 9), sink, version, temperature=1.0, seed=number,
            key=f"key-{number % 7}", deadline_s=deadline_s,
        )  # fmt: skip
        engine.loop.submit(request)
        if chance.random() < 0.1:
            engine.loop.cancel(request.request_id)
            cancelled += 1
            # a request that is cancelled is told nothing, so nobody else gives its room back
            if not sink.ended.is_set():
                sink.ended.set()
                room.release()
    for sink in sinks:
        sink.ended.wait(60)
    memory_mib.append(round(process.memory_info().rss / 2**20, 1))
    load = engine.loop.load()
    return {
        "requests": num_requests,
        "seconds": round(time.perf_counter() - start_s, 1),
        "cancelled": cancelled,
        "failed": sorted({type(sink.failed).__name__ for sink in sinks if sink.failed is not None}),
        "past_deadline": sum(sink.failed is not None for sink in sinks),
        "adapter_loads": len(engine.loads),
        "rows_left": load.active_rows,
        "waiting_left": load.waiting_requests,
        "reused_prompt_share": round(load.prefixes.reused_tokens / load.prefixes.prompt_tokens, 3),
        "memory_mib": memory_mib,
        "second_half_added_mib": round(memory_mib[-1] - memory_mib[len(memory_mib) // 2], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="See the head of bench/soak.py.")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", default=3600, type=int)
    parser.add_argument("--threads", default=os.cpu_count(), type=int)
    parser.add_argument("--json", default=machine.RESULTS / "soak.json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)  # the engine's thread alone has a pool: see LiveEngine
    facts = machine.describe("torch", "transformers")
    path = resolve(args.model).path
    with tempfile.TemporaryDirectory() as work:
        vocab = read_config(path).vocab_size
        material = Material(path, make_adapters(path, Path(work)), torch.bfloat16, vocab, 0)
        engine = LiveEngine(material, KNOWN, RESIDENT, args.threads, ROWS)
        try:
            found = soak(engine, vocab, args.requests)
        finally:
            engine.close()
    result = {"model": args.model, "adapters": KNOWN, "resident": RESIDENT, **found, "machine": facts}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
