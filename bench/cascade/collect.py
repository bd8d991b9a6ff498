"""What each model answers to each task, computed once and kept: resumable, because the large model takes its time.

    OMP_NUM_THREADS=2 .venv/bin/python -m bench.cascade.collect --model large     (about 40 minutes on two cores)

Answers are greedy, so they depend on the model and the prompt alone. Kept are scores, token counts and, for the small
model, what the engine saw of each token; the texts stay in the work folder, which is not committed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from bench.cascade.tasks import Task, sample
from serve_app.adapters import AdapterSpec, load, shipped, verify
from serve_app.catalogue import cache_dir, resolve
from serve_app.core import Call, Message, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine

MODELS = {
    "small": "smollm2-135m-instruct",
    "medium": "qwen2.5-coder-0.5b-instruct",
    "large": "qwen2.5-coder-1.5b-instruct",
}
COUNTS = {
    "legal": 200,
    "support": 600,
    "medquad": 189,
    "conala": 200,
    "medmcqa": 200,
    "mbpp": 200,
    "svamp": 200,
    "arc": 150,
    "mmlu": 150,
}
ADAPTERS = ("legal", "medical", "code", "support")


def answers_file(model: str) -> Path:
    """Where the raw answers of a model are kept on this machine."""
    return cache_dir() / "bench" / "cascade" / f"{model}.jsonl"


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Task id -> raw answer; empty where nothing was collected."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return {row["id"]: row for row in rows}


async def ask(engine: LocalEngine, task: Task, adapter: str | None, out: TextIO) -> None:
    """One greedy answer, appended to `out`."""
    sampling = SamplingParams(max_tokens=task.max_tokens, temperature=0)
    call = Call(task.id, sampling, (Message("user", task.question),), adapter=adapter)
    text, tokens, usage, version = "", [], None, None
    async for delta in engine.generate(call):
        text += delta.text
        tokens += [(round(t.logprob, 4), round(t.entropy, 4), round(t.margin, 4), t.token_id) for t in delta.tokens]
        usage, version = delta.usage, delta.adapter_version
    assert usage is not None
    row = {
        "id": task.id,
        "adapter": adapter,
        "adapter_version": version,
        "text": text,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "busy_s": round(usage.busy_s, 4),
        "tokens": tokens,
    }
    out.write(json.dumps(row, ensure_ascii=False) + "\n")
    out.flush()


async def collect(model: str, tasks: Sequence[Task], adapters: dict[str, str | None], threads: int, rows: int) -> None:
    """Answer what is not answered yet. `adapters`: task id -> adapter, for the small model."""
    path = answers_file(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read_answers(path)
    missing = [task for task in tasks if task.id not in known or known[task.id]["adapter"] != adapters.get(task.id)]
    if not missing:
        return
    files = resolve(MODELS[model])
    wanted = sorted({name for name in adapters.values() if name})
    specs: list[AdapterSpec] = [verify(load(shipped(name), name), files, False) for name in wanted]
    options = EngineOptions(threads=threads, max_rows=rows, max_waiting=len(missing), max_context_tokens=1024)
    engine = LocalEngine(files, specs, options)
    await engine.start()
    started_s = time.perf_counter()
    try:
        with path.open("a", encoding="utf-8") as out:
            await asyncio.gather(*(ask(engine, task, adapters.get(task.id), out) for task in missing))
    finally:
        await engine.close()
    print(f"{model}: {len(missing)} answers in {time.perf_counter() - started_s:.0f} s")


def shuffled(tasks: Sequence[Task]) -> list[Task]:
    """In an order that mixes the tasks, so that a run that was broken off is a sample of all."""
    return random.Random(0).sample(tasks, len(tasks))


def main() -> None:
    """Collect one model's answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=[name for name in MODELS if name != "small"], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    asyncio.run(collect(wanted.model, shuffled(sample(wanted.data, COUNTS)), {}, wanted.threads, 24))


if __name__ == "__main__":
    main()
