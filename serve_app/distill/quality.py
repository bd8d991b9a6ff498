"""Which answers of the large model are worth learning: each gets a score in [0, 1], and those below a bound are left.

    agreement   the share of some samples of the large model that say what it answered: an answer that it would give
                again is right more often (Wang et al. 2022, "Self-consistency", arXiv:2203.11171). Needs no reference.
    judge       a model's grade, through any OpenAI-compatible endpoint. Needs a reference, or `compare: nothing`.
    verifier    a check: the row's tests in the sandbox, its number, its choice, its text.

What is left after the rule still holds mistakes of the large model; they are learnt with the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from pydantic import Field

from serve_app.config.section import Section
from serve_app.core import DataError, SamplingParams, single_errors
from serve_app.distill.answers import Answerer, Ask
from serve_app.distill.rows import ExampleRow
from serve_app.labelling.item import Scorer
from serve_app.labelling.scorers import scorer as scorer_named
from serve_app.labelling.scorers.agreement import Agreement


class QualitySettings(Section):
    """Which rule, and from which score an answer is learnt."""

    rule: Literal["agreement", "judge", "verifier", "none"] = Field(
        "agreement", description="How answers of the large model are scored; `none` takes all of them."
    )
    min_score: float = Field(0.6, ge=0, le=1, description="Answers with a lower score, or none, are not learnt.")
    samples: int = Field(3, ge=1, le=32, description="With `agreement`: samples of the large model a query.")
    temperature: float = Field(0.7, gt=0, le=2, description="With `agreement`: of the samples.")
    by: Literal["equal", "f1", "cosine"] = Field(
        "equal", description="With `agreement`: when two answers agree, as in `headrace label --scorer agreement`."
    )
    scorer: str = Field("exact", description="With `verifier`: a scorer of `headrace label`, for rows that name none.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Of the scorer or the judge, as `url`, `model`, `key_env`, `timeout_s`."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Answers judged or verified at once.")


class Rule(Protocol):
    """Scores the large model's answers."""

    async def scores(self, rows: Sequence[ExampleRow], on_done: Callable[[int], object]) -> list[float | None]:
        """One for each row, None where it cannot be told. Raises DataError naming the row, or what a model raises."""
        ...


def rule(settings: QualitySettings, large: Answerer, max_tokens: int) -> Rule:
    """The rule of a plan. Raises ConfigError for a scorer or option that does not exist."""
    if settings.rule == "none":
        return Everything()
    if settings.rule == "agreement":
        return SampleAgreement(large, settings.samples, settings.temperature, max_tokens, Agreement(by=settings.by))
    named = "judge" if settings.rule == "judge" else settings.scorer
    return Checked(scorer_named(named, **settings.options), settings.concurrency)


class Everything:
    """Takes all answers."""

    async def scores(self, rows: Sequence[ExampleRow], on_done: Callable[[int], object]) -> list[float | None]:
        """See `Rule`."""
        on_done(len(rows))
        return [1.0] * len(rows)


class SampleAgreement:
    """The share of samples that agree with the answer that was given."""

    def __init__(
        self, large: Answerer, num_samples: int, temperature: float, max_tokens: int, agrees: Agreement
    ) -> None:
        self._large, self._num_samples, self._agrees = large, num_samples, agrees
        self._sampling = [
            SamplingParams(max_tokens=max_tokens, temperature=temperature, seed=seed) for seed in range(num_samples)
        ]

    async def scores(self, rows: Sequence[ExampleRow], on_done: Callable[[int], object]) -> list[float | None]:
        """See `Rule`; `on_done` is told of rows, not of samples."""
        asks = [
            Ask(f"{row.id}/{index}", row.messages, sampling)
            for row in rows
            for index, sampling in enumerate(self._sampling)
        ]
        whole = _Whole(self._num_samples, on_done)
        found = await self._large.answer(asks, whole)
        return [await self._agreement(row, [found[f"{row.id}/{i}"].text for i in range(self._num_samples)])
                for row in rows]  # fmt: skip

    async def _agreement(self, row: ExampleRow, samples: Sequence[str]) -> float:
        agreed = [await self._agrees.score(row.item(sample)) for sample in samples]
        return sum(agreed) / len(agreed)


class Checked:
    """What a scorer says of the answer."""

    def __init__(self, scorer: Scorer, concurrency: int) -> None:
        self._scorer, self._free = scorer, asyncio.Semaphore(concurrency)

    async def scores(self, rows: Sequence[ExampleRow], on_done: Callable[[int], object]) -> list[float | None]:
        """See `Rule`."""

        async def one(row: ExampleRow) -> float | None:
            scorer = self._scorer if row.scorer is None else scorer_named(row.scorer)
            async with self._free:
                try:
                    found = await scorer.score(row.item(row.answer or ""))
                except DataError as error:
                    raise DataError(f"Query {row.id}: {error}") from error
            on_done(1)
            return found

        with single_errors():  # the first error ends the rest: no judge is asked for nothing
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(one(row)) for row in rows]
        return [each.result() for each in found]


class _Whole:
    """Counts samples, tells of rows."""

    def __init__(self, num_samples: int, on_done: Callable[[int], object]) -> None:
        self._num_samples, self._on_done, self._count = num_samples, on_done, 0

    def __call__(self, num_samples: int) -> None:
        before = self._count // self._num_samples
        self._count += num_samples
        self._on_done(self._count // self._num_samples - before)
