"""Two rounds of distillation: from the bare base to a first version, and from that, live, to the next.

1. The cascade in front of the live version is fitted on the labelled rows at the stated risk.
2. It is replayed over captured traffic. What it escalates goes to a log with the large model's answer, and no label.
3. `headrace distill` runs on that log, as a user would run it: rate, split, train, gate. The second round replays what
   the first one learnt, and the live version's own accepted answers: of escalations alone it would forget the rest.
4. On test rows that nobody has seen, the live and the new version are compared, each behind its own threshold.

The first round gives the second one a live version that accepts something. The figures are the second round's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.cascade.tasks import sample
from bench.distill.task import MAX_TOKENS, ROUTE, Traffic
from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.core import Message, SamplingParams
from serve_app.distill.answers import Ask, LocalAnswerer
from serve_app.distill.lora import LoraTrainer
from serve_app.distill.pipeline import Models, Pipeline
from serve_app.distill.plan import Plan
from serve_app.distill.rows import ExampleRow, objects, read_examples, write_examples, write_lines
from serve_app.distill.threshold import Estimate, answer_and_score, attempts, look
from serve_app.training.cascade import FitOptions, TokenCounts, fit_table, replay_policy, tabulate

NAME = "support"
STATED_RISK = 0.1
"""As for the route `support` in bench.cascade; half of what the large model itself gets wrong here."""
MIN_SCORE = 0.9
"""All three samples agree with the answer."""
OTHER_RISKS = (0.15, 0.2)
"""Reported beside it, with the same two versions."""
REGRESSION = ("arc", "legal", "medmcqa")
_NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything."""

    first: int
    """Captured queries of the first round."""
    second: int
    labelled: int
    test: int
    regression: int
    """Rows of each other domain."""
    epochs: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What all rounds share."""

    folder: Path
    models: Models
    trainer: LoraTrainer
    """The one of the models."""
    traffic: Traffic
    """With the large model's answers; labels as references."""
    regression: Sequence[ExampleRow]
    effort: Effort

    async def estimates(self, version: AdapterSpec | None, alpha: float = STATED_RISK) -> Estimate:
        """A version behind the threshold that the labelled rows allow at a stated risk, on the test rows."""
        rows = {}
        for part in ("labelled", "test"):
            answered = await answer_and_score(
                getattr(self.traffic, part), self.models.small(version), "exact", {}, MAX_TOKENS
            )
            rows[part] = attempts(answered, None if version is None else version.version, ROUTE)
        options = FitOptions(alpha=alpha)
        policy = fit_table(tabulate(rows["labelled"], options.stages), options).policy
        return look(policy, tabulate(rows["test"], options.stages), options, self.models.prices)

    async def cascaded(
        self, version: AdapterSpec | None, rows: Sequence[ExampleRow]
    ) -> tuple[list[ExampleRow], list[ExampleRow]]:
        """The rows that the cascade in front of a version sends to the large model, and those that it accepts.

        The latter have the version's own answers.
        """
        found = await self.estimates(version)
        answered = await answer_and_score(rows, self.models.small(version), "exact", {}, MAX_TOKENS)
        tried = attempts(answered, None if version is None else version.version, ROUTE)
        accepted = replay_policy(found.policy, tabulate(tried, found.policy.checkpoints)).accepted
        escalated = [row for row, kept in zip(rows, accepted.tolist(), strict=True) if not kept]
        own = zip(rows, answered.answers, accepted.tolist(), strict=True)
        return escalated, [row.model_copy(update={"answer": answer.text}) for row, answer, kept in own if kept]

    def pipeline(
        self, run: str, captured: Sequence[ExampleRow], live: AdapterSpec | None, replay: Sequence[ExampleRow]
    ) -> Pipeline:
        """The run of a round, on a log without labels."""
        folder = self.folder / run
        folder.mkdir(parents=True, exist_ok=True)
        write_lines((_logged(row) for row in captured), folder / "log.jsonl")
        write_examples(self.traffic.labelled, folder / "labelled.jsonl")
        write_examples(self.regression, folder / "regression.jsonl")
        write_examples((row.model_copy(update={"reference": None}) for row in replay), folder / "replay.jsonl")
        plan = Plan.model_validate(
            {
                "name": NAME,
                "live": None if live is None else str(live.path),
                "route": ROUTE,
                "max_tokens": MAX_TOKENS,
                "labelled": str(folder / "labelled.jsonl"),
                "regression": str(folder / "regression.jsonl"),
                "replay": str(folder / "replay.jsonl") if replay else None,
                "source": {"log": str(folder / "log.jsonl"), "fewest": 20},
                "quality": {"samples": 3, "min_score": MIN_SCORE},
                "split": {"validation": 0.05, "gate": 0.15},
                "train": {"epochs": self.effort.epochs, "rows_per_step": 8},
                "gate": {"alpha": STATED_RISK},
            }
        )
        return Pipeline(plan, folder, self.models, None, _no_bar)


async def measure(bench: Bench) -> dict[str, Any]:
    """Both rounds, and a version that was trained on shuffled answers, before the same gate."""
    first = bench.traffic.captured[: bench.effort.first]
    second = bench.traffic.captured[bench.effort.first :]
    base = await bench.estimates(None)
    told: dict[str, Any] = {"base": base.record()}
    live, told["first_round"] = await _round(bench, "first", first, None)
    before = await bench.estimates(live)
    learnt = read_examples(bench.folder / "first" / "split" / "train.jsonl")
    new, told["second_round"] = await _round(bench, "second", second, live, learnt)
    after = await bench.estimates(new)
    told["shuffled"] = await _shuffled(bench, second, live, learnt)
    return {
        **_headline("before", before),
        **_headline("after", after),
        "stated_risk": STATED_RISK,
        "test_rows": after.num_rows,
        "escalation_change_95": _change(before, after),
        "saved_change_95": _saved_change(before, after),
        "gate_passed": told["second_round"]["gate"]["passed"],
        "shuffled_refused": not told["shuffled"]["gate"]["passed"],
        "other_risks": {str(alpha): await _at(bench, alpha, live, new) for alpha in OTHER_RISKS},
        "rounds": told,
    }  # fmt: skip


async def _round(
    bench: Bench,
    run: str,
    captured: Sequence[ExampleRow],
    live: AdapterSpec | None,
    learnt: Sequence[ExampleRow] = (),
) -> tuple[AdapterSpec, dict[str, Any]]:
    escalated, accepted = await bench.cascaded(live, captured)
    pipeline = bench.pipeline(run, escalated, live, [*learnt, *accepted])
    stages: dict[str, Any] = {"captured": len(captured), "escalated": len(escalated)}
    for name in ("export", "rate", "split", "train", "gate"):
        stages[name] = (await getattr(pipeline, name)()).figures
    rated = bench.folder / run / "quality" / "rows.jsonl"
    stages["large_right"] = _right(escalated, rated, 0.0)
    stages["large_right_of_kept"] = _right(escalated, rated, MIN_SCORE)
    return pipeline.new(), stages


def _right(captured: Sequence[ExampleRow], rated: Path, min_score: float) -> float | None:
    """Share of the large model's answers that are the label, of those with such a score; the run does not see it."""
    labels = {row.id: row.reference for row in captured}
    kept = [row for _, row in objects(rated) if (row.get("score") or 0.0) >= min_score]
    return sum(row["answer"].strip() == labels[row["id"]] for row in kept) / len(kept) if kept else None


async def _shuffled(
    bench: Bench, captured: Sequence[ExampleRow], live: AdapterSpec, learnt: Sequence[ExampleRow]
) -> dict[str, Any]:
    """The second round again, on answers dealt out anew before training; everything else is the same."""
    worse = replace(bench, models=replace(bench.models, train=_Shuffling(bench.trainer)))
    escalated, accepted = await bench.cascaded(live, captured)
    pipeline = worse.pipeline("shuffled", escalated, live, [*learnt, *accepted])
    trained, gate = await pipeline.train(), await pipeline.gate()
    return {"train": trained.figures, "gate": gate.figures}


@dataclass(frozen=True, slots=True)
class _Shuffling:
    """A trainer whose rows have each other's answers; half as long, which does harm enough."""

    trainer: LoraTrainer

    def __call__(self, rows: Path, out: Path, manifest: AdapterManifest, start: AdapterSpec | None) -> dict[str, Any]:
        turns = [row["messages"] for _, row in objects(rows)]
        answers = random.Random(0).sample([turn[-1] for turn in turns], len(turns))
        shuffled = rows.with_name("shuffled.jsonl")
        write_lines(({"messages": [*turn[:-1], answer]} for turn, answer in zip(turns, answers, strict=True)), shuffled)
        settings = self.trainer.settings.model_copy(update={"epochs": self.trainer.settings.epochs / 2})
        return replace(self.trainer, settings=settings)(shuffled, out, manifest, start)


async def _at(bench: Bench, alpha: float, live: AdapterSpec, new: AdapterSpec) -> dict[str, Any]:
    found = {"before": await bench.estimates(live, alpha), "after": await bench.estimates(new, alpha)}
    return {when: one.record() for when, one in found.items()}


def _headline(when: str, found: Estimate) -> dict[str, float | None]:
    """A version's figures on the test rows; the risk of one that accepts nothing is 0, so see what it accepts."""
    return {
        f"escalation_{when}": found.escalation,
        f"risk_{when}": found.risk or 0.0,
        f"saved_{when}": found.saved,
        f"accepted_{when}": 1.0 - found.escalation,
        f"right_{when}": found.right,
    }


def _change(before: Estimate, after: Estimate) -> list[float]:
    """95 % of the paired bootstrap over test rows."""
    change = np.array(before.accepted, dtype=float) - np.array(after.accepted, dtype=float)
    return _interval(lambda weights: weights @ change / weights.sum(axis=1), len(change))


def _saved_change(before: Estimate, after: Estimate) -> list[float]:
    """As `_change`, of the share of always-large's bill that is saved."""
    large = np.array(after.always_large_nusd)
    change = np.array(before.costs_nusd) - np.array(after.costs_nusd)
    return _interval(lambda weights: (weights @ change) / (weights @ large), len(change))


def _interval(figure: Any, num_rows: int) -> list[float]:
    weights = np.random.default_rng(0).multinomial(num_rows, np.full(num_rows, 1 / num_rows), _NUM_RESAMPLES)
    return [float(value) for value in np.quantile(figure(weights.astype(float)), [0.025, 0.975])]


async def with_large(rows: Sequence[ExampleRow], large: LocalAnswerer) -> list[ExampleRow]:
    """The rows with the large model's greedy answers and what they took."""
    sampling = SamplingParams(max_tokens=MAX_TOKENS, temperature=0)
    found = await large.answer([Ask(row.id, row.messages, sampling) for row in rows])
    return [
        row.model_copy(
            update={
                "answer": found[row.id].text,
                "large_usage": TokenCounts(
                    prompt_tokens=found[row.id].prompt_tokens, completion_tokens=found[row.id].completion_tokens
                ),
            }
        )
        for row in rows
    ]


def regression_rows(data: Path, num_rows: int) -> list[ExampleRow]:
    """The same questions of three other domains each time, exactly scored."""
    tasks = sample(data, dict.fromkeys(REGRESSION, num_rows))
    return [
        ExampleRow(
            id=task.id,
            messages=(Message("user", task.question),),
            group=task.id.partition("/")[0],
            scorer=task.scorer,
            reference=task.reference,
            choices=task.choices,
        )
        for task in tasks
    ]


def trainer(base: Any, effort: Effort, watch: Any) -> LoraTrainer:
    """As the plan of a round has it."""
    from serve_app.distill.plan import LoraSettings

    return LoraTrainer(base, LoraSettings(epochs=effort.epochs, rows_per_step=8), watch)


def _logged(row: ExampleRow) -> dict[str, Any]:
    """A line of a log: no label."""
    return {
        "id": row.id,
        "messages": [{"role": turn.role, "content": turn.content} for turn in row.messages],
        "large_answer": row.answer,
        "route": row.route,
        "escalated": True,
    }


def _no_bar(title: str, total: int) -> Any:
    print(f"  {title}: {total}", flush=True)
    return lambda num: None
