"""The training loop of one LoRA adapter: loss on completions only, resumable, the same order for the same seed.

Knows rows and tensors; how progress is shown is the caller's, through `on_step`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from serve_app.training import checkpoint
from serve_app.training.base import Trainee
from serve_app.training.checkpoint import Progress
from serve_app.training.optimiser import MasterAdamW, learning_rate_factor
from serve_app.training.options import TrainOptions
from serve_app.training.packing import pack
from serve_app.training.plan import Example, micro_batches, plan_steps
from serve_app.training.stopping import Stopping


@dataclass(frozen=True, slots=True)
class StepReport:
    """Where the run stands after a step."""

    step: int
    num_steps: int
    loss: float
    """Nats a completion token, mean over this step's rows."""
    num_tokens: int
    """Non-pad tokens since the run's first step, prompts included."""
    total_tokens: int
    """Of the whole run as planned."""
    busy_s: float
    validation_loss: float | None = None
    """Of the last validation."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    num_steps: int
    num_tokens: int
    busy_s: float
    """Seconds in steps, over all sessions; evaluation and loading are not in it."""
    first_loss: float
    """Mean over the first tenth of the steps."""
    last_loss: float
    """Mean over the last tenth."""
    losses: tuple[float, ...] = ()
    """Of every step, nats a completion token."""
    validations: tuple[tuple[int, float], ...] = ()
    """Steps done and validation loss."""
    best_step: int | None = None
    """Whose weights the result has; None: those of the last step."""
    num_planned_steps: int = 0
    """More than `num_steps` where the run was stopped early."""

    @property
    def tokens_per_s(self) -> float:
        """Non-pad tokens a second of stepping."""
        return self.num_tokens / self.busy_s if self.busy_s else 0.0


def run_digest(options: TrainOptions, data_sha256: str, base_digest: str, system_prompt: str | None) -> str:
    """Identifies a run: what is resumed must be of the same options, data, base and system prompt."""
    parts = "\n".join((options.digest(), data_sha256, base_digest, system_prompt or ""))
    return hashlib.sha256(parts.encode()).hexdigest()


def train(
    trainee: Trainee,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    digest: str,
    resume: bool = False,
    on_step: Callable[[StepReport], None] = lambda report: None,
    validation: Sequence[Example] = (),
) -> RunResult:
    """Train the adapter in place; a checkpoint lies in `checkpoints` after every few steps and at the end.

    With `validation` rows and a patience it may stop early, and ends with the best weights that were seen.

    Raises TrainingError when `resume` finds a checkpoint of another run.
    """
    steps = plan_steps(examples, options)
    total_tokens = sum(len(example.token_ids) for step in steps for example in step)
    optimiser = MasterAdamW(trainee.trainable(), options.learning_rate, options.weight_decay)
    stopping = Stopping(options.patience)
    done = Progress(digest, 0, 0, 0.0)
    if resume:
        done, stopping = _resumed(optimiser, options, checkpoints, digest)
    trainee.refresh()
    trainee.model.train()
    for index in range(done.step, len(steps)):
        if stopping.stopped:
            break
        started = time.perf_counter()
        loss = _step(trainee, optimiser, steps[index], options, index, len(steps))
        done = Progress(
            run_digest=digest,
            step=index + 1,
            num_tokens=done.num_tokens + sum(len(example.token_ids) for example in steps[index]),
            busy_s=done.busy_s + time.perf_counter() - started,
            losses=(*done.losses, loss),
        )
        if validation and (done.step % options.validate_every_steps == 0 or done.step == len(steps)):
            stopping.note(done.step, validation_loss(trainee, validation, options), optimiser.weights())
        done = replace(done, validations=tuple(stopping.validations))
        seen = done.validations[-1][1] if done.validations else None
        on_step(StepReport(done.step, len(steps), loss, done.num_tokens, total_tokens, done.busy_s, seen))
        if done.step % options.checkpoint_every_steps == 0 or done.step == len(steps) or stopping.stopped:
            checkpoint.save(checkpoints, done, optimiser.state() | stopping.state())
    trainee.model.eval()
    if stopping.best is not None:
        optimiser.take(stopping.best)
        trainee.refresh()
    return _result(done, stopping, len(steps))


def _result(done: Progress, stopping: Stopping, num_planned: int) -> RunResult:
    tenth = max(1, done.step // 10)
    return RunResult(
        num_steps=done.step,
        num_tokens=done.num_tokens,
        busy_s=done.busy_s,
        first_loss=_mean(done.losses[:tenth]),
        last_loss=_mean(done.losses[-tenth:]),
        losses=done.losses,
        validations=done.validations,
        best_step=stopping.best_step if stopping.best is not None else None,
        num_planned_steps=num_planned,
    )


def validation_loss(trainee: Trainee, rows: Sequence[Example], options: TrainOptions) -> float:
    """Mean over the rows' completion tokens, nats."""
    with torch.no_grad():
        total = sum(
            float(packed_nll(trainee, batch).sum()) for batch in micro_batches(rows, options.micro_batch_tokens)
        )
    return total / sum(example.num_targets for example in rows)


def packed_nll(trainee: Trainee, batch: Sequence[Example]) -> torch.Tensor:
    """What `target_nll` gives, by the faster way where the base has one. The adapter must be switched on."""
    if trainee.decoder is None:
        return target_nll(trainee, batch)
    packed = pack(batch, trainee.device)
    logits = trainee.logits(trainee.decoder.hidden_states(packed))
    return torch.nn.functional.cross_entropy(logits, packed.targets, reduction="none")


def target_nll(trainee: Trainee, batch: Sequence[Example]) -> torch.Tensor:
    """Negative log-likelihood of every completion token of a batch, in row order, (num_targets,), in nats.

    The vocabulary projection, a fifth of a small model's work, is made at completion positions only.
    """
    longest = max(len(example.token_ids) for example in batch)
    token_ids = torch.zeros(len(batch), longest, dtype=torch.long)
    predicts = torch.zeros(len(batch), longest, dtype=torch.bool)
    targets: list[int] = []
    for row, example in enumerate(batch):
        token_ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
        predicts[row, example.num_prompt_tokens - 1 : len(example.token_ids) - 1] = True
        targets.extend(example.token_ids[example.num_prompt_tokens :])
    states = trainee.hidden_states(token_ids.to(trainee.device))[predicts.to(trainee.device)]
    wanted = torch.tensor(targets, device=trainee.device)
    return torch.nn.functional.cross_entropy(trainee.logits(states), wanted, reduction="none")


def _step(
    trainee: Trainee, optimiser: MasterAdamW, step: Sequence[Example], options: TrainOptions, index: int, num_steps: int
) -> float:
    """One update from all rows of a step; every completion token weighs the same."""
    num_targets = sum(example.num_targets for example in step)
    total = 0.0
    for batch in micro_batches(step, options.micro_batch_tokens):
        loss = packed_nll(trainee, batch).sum() / num_targets
        loss.backward()
        optimiser.collect()
        total += loss.item()
    factor = learning_rate_factor(index, num_steps, options.warmup_share, options.schedule)
    optimiser.step(factor, options.max_grad_norm)
    trainee.refresh()
    return total


def _resumed(
    optimiser: MasterAdamW, options: TrainOptions, checkpoints: Path, digest: str
) -> tuple[Progress, Stopping]:
    found = checkpoint.load(checkpoints, digest)
    if found is None:
        return Progress(digest, 0, 0, 0.0), Stopping(options.patience)
    progress, tensors = found
    optimiser.load(tensors)
    stopping = Stopping(options.patience, progress.validations)
    stopping.load(tensors)
    return progress, stopping


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
