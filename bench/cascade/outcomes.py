"""From raw answers to labelled attempts: scored, routed, and without any text, so that they can be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cascade.tasks import Task
from serve_app.core import RouteScore
from serve_app.labelling.scorers import Item, Scorer, scorer
from serve_app.training.cascade.outcomes import LabelledAttempt, TokenCounts
from serve_app.training.scores import token_f1

OUTCOMES = Path(__file__).resolve().parent / "outcomes"
"""One file for each pair of models: `large.jsonl.gz`, `demo.jsonl.gz`."""
CODE_F1 = 0.6
"""A line of Python counts as right from this token F1 with the reference on: exact equality is too much to ask."""
MEDICAL_COSINE = 0.75
"""A free medical answer counts as right from this cosine of sentence vectors with the reference on."""


class Scoring:
    """Right or wrong, by the task's own measure."""

    def __init__(self) -> None:
        self._scorers: dict[str, Scorer] = {
            name: scorer(name) for name in ("verdict", "choice", "numeric", "contains", "code")
        }
        self._near = scorer("agreement", by="cosine", threshold=MEDICAL_COSINE)

    async def right(self, task: Task, answer: str) -> float:
        """1 or 0; an answer that cannot be scored is wrong."""
        item = Item(task.question, answer, task.reference, task.choices, task.tests, large_answer=task.reference)
        if task.scorer == "token_f1":
            return float(token_f1(answer, task.reference) >= CODE_F1)
        if task.scorer == "cosine":
            return float(await self._near.score(item) or 0.0)
        return float(await self._scorers[task.scorer].score(item) or 0.0)


async def scored(tasks: Sequence[Task], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Task id -> 1 or 0, of those that were answered; one program at a time runs in the sandbox."""
    scoring = Scoring()
    return {task.id: await scoring.right(task, answers[task.id]["text"]) for task in tasks if task.id in answers}


def labelled(
    tasks: Sequence[Task],
    routes: Mapping[str, RouteScore],
    small: Mapping[str, Mapping[str, Any]],
    large: Mapping[str, Mapping[str, Any]],
) -> list[LabelledAttempt]:
    """A row for each task that both models answered, ordered by id."""
    both = sorted((task for task in tasks if task.id in small and task.id in large), key=lambda task: task.id)
    small_right = asyncio.run(scored(both, small))
    large_right = asyncio.run(scored(both, large))
    return [_row(task.id, routes[task.id], small, large, small_right, large_right) for task in both]


def _row(
    id: str,
    route: RouteScore,
    small: Mapping[str, Mapping[str, Any]],
    large: Mapping[str, Mapping[str, Any]],
    small_right: Mapping[str, float],
    large_right: Mapping[str, float],
) -> LabelledAttempt:
    first, second = sorted(route.probabilities.values(), reverse=True)[:2]
    return LabelledAttempt(
        id=id,
        route=route.label,
        route_probability=round(first, 4),
        route_margin=round(first - second, 4),
        adapter_version=small[id]["adapter_version"],
        prompt_tokens=small[id]["prompt_tokens"],
        tokens=tuple(tuple(token) for token in small[id]["tokens"]),
        small_right=small_right[id],
        large_right=large_right[id],
        small_usage=_counts(small[id]),
        large_usage=_counts(large[id]),
    )


def _counts(answer: Mapping[str, Any]) -> TokenCounts:
    return TokenCounts(prompt_tokens=answer["prompt_tokens"], completion_tokens=answer["completion_tokens"])
