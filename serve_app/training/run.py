"""One run from rows to an adapter folder: score the base, train, score again, publish with a card.

The run folder beside the adapter (`NAME.run`) holds the checkpoint and the scores of each row, so that a run that was
broken off anywhere goes on with `resume`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch

from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.core.files import write_whole
from serve_app.training import checkpoint
from serve_app.training.base import Trainee, load_trainee
from serve_app.training.dataset import Dataset, first_of_each_group, hold_back
from serve_app.training.evaluate import EvaluationOptions, evaluate
from serve_app.training.lora import RunResult, StepReport, run_digest, train
from serve_app.training.options import TrainingError, TrainOptions
from serve_app.training.passages import PassagePlan, put_before
from serve_app.training.plan import Encoded, encode
from serve_app.training.publish import Outcome, publish
from serve_app.training.routed import Labeller, Routed, as_routed
from serve_app.training.rows import Row
from serve_app.training.statistics import Comparison, RowScore, compare


class Watch(Protocol):
    """Who follows a run; the command line draws bars."""

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """A stage begins; the returned function is told how many of `total` more are done."""
        ...

    def step(self, report: StepReport) -> None:
        """A training step is done."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made."""

    out: Path
    result: RunResult
    comparisons: tuple[Comparison, ...]
    routed: Routed | None
    too_long: tuple[str, ...]
    """Training rows left out because the prompt fills the maximum length."""
    num_cut: int
    """Training rows whose completion was cut."""


def run(
    base: ModelFiles,
    dataset: Dataset,
    out: Path,
    options: TrainOptions,
    evaluation: EvaluationOptions,
    watch: Watch,
    resume: bool = False,
    labeller: Labeller | None = None,
    notes: Sequence[str] = (),
    start: AdapterSpec | None = None,
    passages: PassagePlan | None = None,
) -> Trained:
    """Train one adapter and publish it to `out`; with a `labeller` its figures as routed are reported too.

    `notes` are sentences for the card, such as what else the machine was doing. With `start` training goes on from the
    weights of that adapter. With `passages` it learns to read them before the questions.

    Raises TrainingError, DataError or AdapterError, each one sentence, before any training where it can be known then.
    """
    out = out.resolve()  # `.` has no name
    work = out.with_name(f"{out.name}.run")
    _refuse_overwriting(out, work, resume)
    dataset = _with_validation(dataset, options)
    if passages is not None:  # after rows are held back: rows of one question stay together, whatever was found
        dataset = put_before(dataset, passages)
    trainee = load_trainee(base.path, options, start)
    encoded = encode(dataset.train, trainee.tokenizer, options.max_length_tokens)
    validation = (
        encode(dataset.validation, trainee.tokenizer, options.max_length_tokens) if dataset.validation else None
    )
    prompts = dataset.passages["sha256"] if dataset.passages else ""
    data = " ".join(part for part in (dataset.train_sha256, dataset.validation_sha256, prompts) if part)
    begun_from = base.source_digest if start is None else f"{base.source_digest} {start.version}"
    digest = run_digest(options, data, begun_from, dataset.manifest.system_prompt)
    rows = _held_out(dataset, evaluation)
    held_out = f"{base.source_digest} {dataset.evaluation_sha256} {dataset.manifest.system_prompt} {evaluation}"
    held_out = f"{held_out} {prompts}".rstrip()
    before = _scores(trainee, rows, evaluation, work / "before.json", held_out, watch, adapted=False)
    validated_on = validation.examples if validation else ()
    result = train(trainee, encoded.examples, options, work, digest, resume, watch.step, validated_on)
    _round_to_bfloat16(trainee)
    after = _scores(trainee, rows, evaluation, work / "after.json", f"{digest} {held_out}", watch, adapted=True)
    comparisons = tuple(compare(before, after, options.seed)) if rows else ()
    routed = as_routed(out.name, rows, before, after, labeller, options.seed) if rows and labeller else None
    outcome = Outcome(result, comparisons, routed, _left_out(encoded), notes)
    publish(out, trainee, base, dataset, options, outcome)
    return Trained(out, result, comparisons, routed, encoded.too_long, encoded.num_cut)


def _with_validation(dataset: Dataset, options: TrainOptions) -> Dataset:
    """The dataset with a share of its rows held back, if that is wanted. Raises TrainingError for a contradiction."""
    if options.validation_share:
        if dataset.validation:
            raise TrainingError("validation rows and a share are both given; give --validation or --validation-share.")
        dataset = hold_back(dataset, options.validation_share, options.seed)
    if options.patience is not None and not dataset.validation:
        raise TrainingError("--patience needs validation rows; give --validation FILE or --validation-share 0.1.")
    return dataset


def _refuse_overwriting(out: Path, work: Path, resume: bool) -> None:
    if out.exists() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty; give --out a new folder.")
    if out.is_mount():  # what is whole is put in its place in the end
        raise TrainingError(f"{out} is a volume of its own; give --out a new folder in it.")
    if not resume and (work / checkpoint.FILE_NAME).exists():
        raise TrainingError(f"{work} holds a run that is not finished; pass --resume to go on, or delete it.")


def _held_out(dataset: Dataset, options: EvaluationOptions) -> list[Row]:
    if options.rows_per_group is None:
        return dataset.evaluation
    return first_of_each_group(dataset.evaluation, options.rows_per_group)


def _scores(
    trainee: Trainee,
    rows: Sequence[Row],
    options: EvaluationOptions,
    path: Path,
    key: str,
    watch: Watch,
    adapted: bool,
) -> list[RowScore]:
    """Scores of the held-out rows; those stored under the same key, which says what they depend on, are taken."""
    if not rows:
        return []
    if path.exists():
        stored = json.loads(path.read_bytes())
        if stored["key"] == key:
            return [RowScore(**score) for score in stored["scores"]]
    total = sum(len(row.metrics or (options.metric,)) for row in rows)
    advance = watch.stage("Scoring the adapter" if adapted else "Scoring the base", total)
    scores = evaluate(trainee, rows, options, adapted, advance)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"key": key, "scores": [asdict(score) for score in scores]}))
    return scores


def _round_to_bfloat16(trainee: Trainee) -> None:
    """What is scored is what is published: weights in bfloat16."""
    with torch.no_grad():
        for parameter in trainee.trainable().values():
            parameter.copy_(parameter.bfloat16())


def _left_out(encoded: Encoded) -> dict[str, int]:
    return {"rows_left_out_as_too_long": len(encoded.too_long), "completions_cut": encoded.num_cut}
