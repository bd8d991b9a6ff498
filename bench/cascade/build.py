"""Makes `bench/cascade/outcomes/`: routes every task, collects what is missing, scores, and drops the texts.

    OMP_NUM_THREADS=2 .venv/bin/python -m bench.cascade.build --data ../shared/data

A domain is added to the shipped router for the fifth specialist, `support`, as a user would: from a file of examples.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from bench import machine
from bench.cascade.collect import ADAPTERS, COUNTS, MODELS, answers_file, collect, read_answers, shuffled
from bench.cascade.outcomes import OUTCOMES, labelled
from bench.cascade.tasks import Task, sample
from serve_app.catalogue import resolve
from serve_app.core import Message, RouteScore
from serve_app.encoder import Encoder
from serve_app.router import DomainRouter, Row, shipped
from serve_app.router.artifact import read
from serve_app.training.cascade.outcomes import write_attempts
from serve_app.training.router import add_label
from serve_app.training.specialists import recipe

LARGE_OF = {"large": "large", "demo": "medium"}
"""Profile -> which model is its fallback."""
NUM_EXAMPLES = 150
"""Texts from which the router learns the domain `support`."""


def main() -> None:
    """Build one profile's file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--profile", choices=sorted(LARGE_OF), default="large")
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    tasks = sample(wanted.data, COUNTS)
    routes = route_all(tasks, wanted.data)
    adapters = {task.id: adapter_of(routes[task.id]) for task in tasks}
    ordered, large = shuffled(tasks), LARGE_OF[wanted.profile]
    asyncio.run(collect("small", ordered, adapters, wanted.threads, 24))
    asyncio.run(collect(large, ordered, {}, wanted.threads, 24))
    small_answers, large_answers = read_answers(answers_file("small")), read_answers(answers_file(large))
    rows = labelled(tasks, routes, small_answers, large_answers)
    OUTCOMES.mkdir(exist_ok=True)
    write_attempts(rows, OUTCOMES / f"{wanted.profile}.jsonl.gz")
    used = [task for task in tasks if task.id in large_answers]
    card = {
        "machine": machine.describe("torch", "transformers"),
        "models": {"small": MODELS["small"], "large": MODELS[large]},
        "tasks": {name: sum(task.id.startswith(f"{name}/") for task in used) for name in COUNTS},
        "questions_sha256": digest(used),
        "seconds_per_token": {
            "small": seconds_per_token([small_answers[task.id] for task in used]),
            "large": seconds_per_token([large_answers[task.id] for task in used]),
        },
    }
    (OUTCOMES / f"{wanted.profile}.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{len(rows)} rows, small {np.mean([r.small_right for r in rows]):.3f} right")


def adapter_of(route: RouteScore) -> str | None:
    """As the routes of the profile say: the label's adapter, and none for general."""
    return route.label if route.label in ADAPTERS else None


def route_all(tasks: Sequence[Task], data: Path) -> dict[str, RouteScore]:
    """Task id -> the view of the shipped router with the label `support` added."""
    encoder = Encoder(resolve("all-minilm-l6-v2").path, threads=1)
    examples = recipe("support")(data).train[:NUM_EXAMPLES]
    rows = [Row(text=example["prompt"], label="support") for example in examples]
    extended = add_label(read(shipped()), "support", rows, encoder, _silent)
    router = DomainRouter(extended.artifact, encoder)
    return asyncio.run(_score(router, tasks))


def _silent(stage: str, done: int, total: int) -> None:
    pass


async def _score(router: DomainRouter, tasks: Sequence[Task]) -> dict[str, RouteScore]:
    try:
        return {task.id: await router.score((Message("user", task.question),)) for task in tasks}
    finally:
        router.close()


def digest(tasks: Sequence[Task]) -> str:
    """Of all questions, so that rows are never joined with other texts than those they were made from."""
    text = "\0".join(f"{task.id}\0{task.question}" for task in sorted(tasks, key=lambda task: task.id))
    return hashlib.sha256(text.encode()).hexdigest()


def seconds_per_token(answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Engine seconds of a prompt token and of a generated one, by non-negative least squares over the answers."""
    counts = np.array([[row["prompt_tokens"], row["completion_tokens"]] for row in answers], dtype=float)
    busy = np.array([row["busy_s"] for row in answers], dtype=float)
    (prompt, completion), _ = nnls(counts, busy)
    return {"prompt": float(prompt), "completion": float(completion), "total_s": float(busy.sum())}


if __name__ == "__main__":
    main()
