"""The stages of one run, in order; see the package for the picture. Models and the store come in by constructor."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serve_app import adapters
from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.confidence import policy as policies
from serve_app.confidence.policy import CascadePolicy
from serve_app.config.ledger import TextsSettings
from serve_app.core import DataError
from serve_app.distill import quality
from serve_app.distill.answers import Answerer
from serve_app.distill.export import cleaned, from_ledger, from_log, redaction, refuse_few
from serve_app.distill.gate import Verdict, judge
from serve_app.distill.near import near_to
from serve_app.distill.plan import Plan
from serve_app.distill.publish import publish
from serve_app.distill.rows import ExampleRow, read_examples, read_examples_or_none, write_examples, write_lines
from serve_app.distill.split import PARTS, Shares, split
from serve_app.distill.stages import Done, digest_of, stage, write_json
from serve_app.distill.threshold import Answered, Estimate, added, answer_and_score, attempts, estimate, fit_options
from serve_app.ledger.texts import Wanted
from serve_app.store import Store
from serve_app.training.cascade import Prices

ROWS, REPORT = "rows.jsonl", "gate.json"

StageBar = Callable[[str, int], Callable[[int], None]]
"""A stage's title and total to what is told how many more are done."""


class Trainer(Protocol):
    """Trains an adapter folder from a file of rows."""

    def __call__(self, rows: Path, out: Path, manifest: AdapterManifest, start: AdapterSpec | None) -> dict[str, Any]:
        """Writes `out`; goes on from a checkpoint of the same run beside it. Returns figures, plain JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Models:
    """What a run computes with."""

    base: ModelFiles
    small: Callable[[AdapterSpec | None], Answerer]
    """The base with this version of the adapter, or bare."""
    large: Answerer
    train: Trainer
    prices: Prices | None = None
    """None: no bill is estimated."""
    publish: Callable[[Path, str, str, float], dict[str, Any]] = publish


@dataclass(frozen=True, slots=True)
class Captured:
    """Where the ledger's texts are, and what may be used of them now."""

    store: Callable[[], AbstractAsyncContextManager[Store]]
    texts: TextsSettings
    wanted: Wanted


class Pipeline:
    """One run in a folder. Each method does the stages up to its own; those that are done are left."""

    def __init__(self, plan: Plan, folder: Path, models: Models, captured: Captured | None, bar: StageBar) -> None:
        """`captured` is not needed where the plan names a log."""
        self._plan, self._folder, self._models = plan, folder, models
        self._captured, self._bar = captured, bar

    @property
    def adapter(self) -> Path:
        """Folder of the new version, once `train` is done."""
        return self._folder / "train" / self._plan.name

    async def export(self) -> Done:
        """The escalated queries. Raises DataError where there are too few."""
        source = self._plan.source
        log = None if source.log is None else Path(source.log)
        inputs = digest_of(source.model_dump(), self._plan.near.duplicate, self._plan.route, log)
        return await stage(self._folder / "export", inputs, self._export)

    async def rate(self) -> Done:
        """Their answers' scores under the quality rule."""
        before = await self.export()
        inputs = digest_of(before.inputs, self._plan.quality.model_dump(), self._plan.large, self._plan.max_tokens)
        return await stage(self._folder / "quality", inputs, self._rate)

    async def split(self) -> Done:
        """Train, validation and gate."""
        before = await self.rate()
        named = (self._plan.labelled, self._plan.regression, self._plan.replay)
        checked = [None if file is None else Path(file) for file in named]
        settings = [self._plan.split.model_dump(), self._plan.near.model_dump(), self._plan.quality.min_score]
        return await stage(self._folder / "split", digest_of(before.inputs, settings, *checked), self._split)

    async def train(self) -> Done:
        """The new version."""
        before = await self.split()
        live = self.live()
        version = None if live is None else live.version
        inputs = digest_of(before.inputs, self._plan.train.model_dump(), self._plan.base, self._plan.name, version)
        return await stage(self._folder / "train", inputs, self._train)

    async def gate(self) -> Done:
        """The verdict over it; the figures are the report's."""
        before = await self.train()
        plan = self._plan
        policy = None if plan.policy is None else Path(plan.policy)
        told = [plan.gate.model_dump(), plan.scorer, plan.scorer_options, plan.max_tokens, policy]
        inputs = digest_of(before.inputs, *told)
        return await stage(self._folder / "gate", inputs, self._gate)

    async def publish(self) -> Done:
        """The canary, where the gate passed it and the plan names a server."""
        before = await self.gate()
        return await stage(
            self._folder / "publish", digest_of(before.inputs, self._plan.publish.model_dump()), self._publish
        )

    def live(self) -> AdapterSpec | None:
        """The live version, verified against the base; None: the bare base."""
        if self._plan.live is None:
            return None
        shipped = self._plan.live in adapters.shipped_names()
        folder = adapters.shipped(self._plan.live) if shipped else Path(self._plan.live)
        return adapters.verify(adapters.load(folder, self._plan.name), self._models.base)

    def new(self) -> AdapterSpec:
        """The new version, verified against the base."""
        return adapters.verify(adapters.load(self.adapter, self._plan.name), self._models.base)

    async def _export(self, folder: Path) -> dict[str, Any]:
        source = self._plan.source
        if source.log is not None:
            exported = from_log(Path(source.log), self._plan.route)
        elif self._captured is not None:
            async with self._captured.store() as store:
                exported = await from_ledger(store, self._captured.texts, self._captured.wanted)
        else:
            raise DataError("The plan names no source.log, and no ledger was opened.")
        exported = cleaned(exported, redaction(source.redact), self._plan.near.duplicate)
        refuse_few(exported, source.fewest)
        write_examples(exported.rows, folder / ROWS)
        return {"rows": len(exported.rows), "dropped": dict(exported.dropped)}

    async def _rate(self, folder: Path) -> dict[str, Any]:
        rows = read_examples(self._folder / "export" / ROWS)
        rule = quality.rule(self._plan.quality, self._models.large, self._plan.max_tokens)
        scores = await rule.scores(rows, self._bar("Rating the large model's answers", len(rows)))
        rated = [row.model_copy(update={"score": score}) for row, score in zip(rows, scores, strict=True)]
        write_examples(rated, folder / ROWS)
        known = [score for score in scores if score is not None]
        return {
            "rows": len(rated),
            "kept": sum(self._kept(row) for row in rated),
            "untold": len(scores) - len(known),
            "mean_score": sum(known) / len(known) if known else None,
        }

    async def _split(self, folder: Path) -> dict[str, Any]:
        rows = read_examples(self._folder / "quality" / ROWS)
        checked = [row.text for row in (*self._labelled(), *self._regression())]
        near = near_to([row.text for row in rows], checked, self._plan.near.together)
        rows = [row for index, row in enumerate(rows) if index not in near]
        shares = Shares(self._plan.split.validation, self._plan.split.gate)
        found = split(
            [row.id for row in rows],
            [row.text for row in rows],
            self._plan.near.together,
            shares,
            self._plan.split.seed,
        )
        parts = {part: [row for row, its in zip(rows, found, strict=True) if its == part] for part in PARTS}
        for part in ("train", "gate"):  # the threshold is set on all that was asked, not on what was easy to answer
            parts[part] = [row for row in parts[part] if self._kept(row)]
            if not parts[part]:
                raise DataError(
                    f"No row of the part {part!r} has a score of {self._plan.quality.min_score:g} or more; lower "
                    "quality.min_score, or use another rule."
                )
        replayed = self._replayed([*checked, *(row.text for part in ("validation", "gate") for row in parts[part])])
        parts["train"] += replayed
        for part, members in parts.items():
            write_examples(members, folder / f"{part}.jsonl")
        return {
            **{part: len(members) for part, members in parts.items()},
            "replayed": len(replayed),
            "near_a_checked_row": len(near),
            "below_min_score": len(rows) - sum(self._kept(row) for row in rows),
        }

    async def _train(self, folder: Path) -> dict[str, Any]:
        rows = read_examples(self._folder / "split" / "train.jsonl")
        write_lines((_lesson(row) for row in rows), folder / "lessons.jsonl")
        if self.adapter.exists():  # written, but the stage was broken off before its record: the checkpoint has it
            shutil.rmtree(self.adapter)
        live = self.live()
        start = live if self._plan.train.go_on else None
        manifest = AdapterManifest() if live is None else live.manifest  # its system prompt, stop strings and defaults
        figures = self._models.train(folder / "lessons.jsonl", self.adapter, manifest, start)
        return {"version": self.new().version, "from": None if start is None else start.version, **figures}

    async def _gate(self, folder: Path) -> dict[str, Any]:
        verdict = await self.verdict(self.live(), self.new())
        report = verdict.record() | {
            "version": self.new().version,
            "live": None if (live := self.live()) is None else live.version,
            "estimated_on": "escalated queries" if self._plan.labelled is None else "labelled queries",
        }
        write_json(folder / REPORT, report)
        write_json(self.adapter / REPORT, report)  # beside its card, where the checklist looks; no digest is over it
        policies.write(added(self._policy(), verdict.after.policy), folder / "policy.json")
        return report

    async def _publish(self, folder: Path) -> dict[str, Any]:
        report = json.loads((self._folder / "gate" / REPORT).read_bytes())
        to = self._plan.publish
        if not report["passed"]:
            return {"published": False, "why": "the gate refused it"}
        if to.url is None:
            return {"published": False, "why": "the plan names no publish.url", "adapter": str(self.adapter)}
        told = await asyncio.to_thread(self._models.publish, self.adapter, self._plan.name, to.url, to.weight)
        return {"published": True, **told}

    async def verdict(self, live: AdapterSpec | None, new: AdapterSpec) -> Verdict:
        """What the gate says of any two versions, on the rows of this run. Needs the stage `split`."""
        gate_rows = read_examples(self._folder / "split" / "gate.jsonl")
        regression = self._regression()
        threshold_rows = self._labelled() or read_examples_or_none(self._folder / "split" / "validation.jsonl")
        pairs: list[tuple[Answered, Answered | None, Estimate]] = []
        for version in (live, new):
            gate = await self._answered(version, gate_rows, "gate")
            others = await self._answered(version, regression, "regression") if regression else None
            seen = await self._answered(version, threshold_rows, "threshold")
            compared = gate if self._plan.labelled is None else gate.and_also(seen)
            pairs.append((compared, others, self._estimate(version, seen)))
        before, after = pairs
        both = None if before[1] is None or after[1] is None else (before[1], after[1])
        return judge((before[0], after[0]), both, (before[2], after[2]), self._plan.gate)

    async def _answered(self, version: AdapterSpec | None, rows: Sequence[ExampleRow], part: str) -> Answered:
        which = "base" if version is None else version.version
        bar = self._bar(f"Answers of {which} to the {part} rows", len(rows))
        plan = self._plan
        return await answer_and_score(
            rows, self._models.small(version), plan.scorer, plan.scorer_options, plan.max_tokens, bar
        )

    def _estimate(self, version: AdapterSpec | None, seen: Answered) -> Estimate:
        gate = self._plan.gate
        options = fit_options(gate.alpha, gate.delta, self._policy())
        rows = attempts(seen, None if version is None else version.version, self._plan.route)
        return estimate(rows, None, options, self._models.prices)

    def _replayed(self, checked: Sequence[str]) -> list[ExampleRow]:
        """The rows to be learnt besides, but for those near a row that something is checked on."""
        if self._plan.replay is None:
            return []
        rows = [row for row in read_examples(Path(self._plan.replay)) if row.answer]
        near = near_to([row.text for row in rows], checked, self._plan.near.together)
        return [row for index, row in enumerate(rows) if index not in near]

    def _policy(self) -> CascadePolicy | None:
        return None if self._plan.policy is None else policies.read(Path(self._plan.policy))

    def _kept(self, row: ExampleRow) -> bool:
        return row.score is not None and row.score >= self._plan.quality.min_score

    def _labelled(self) -> list[ExampleRow]:
        return [] if self._plan.labelled is None else read_examples(Path(self._plan.labelled))

    def _regression(self) -> list[ExampleRow]:
        return [] if self._plan.regression is None else read_examples(Path(self._plan.regression))


def _lesson(row: ExampleRow) -> dict[str, Any]:
    """A training row."""
    turns = [{"role": turn.role, "content": turn.content} for turn in row.messages]
    return {"messages": [*turns, {"role": "assistant", "content": row.answer}]}
