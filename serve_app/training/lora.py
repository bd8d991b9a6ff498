"""The training loop of one LoRA adapter: loss on completions only, resumable, the same order for the same seed.

Knows rows and tensors; how progress is shown is the caller's, through `on_step`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from serve_app.training import checkpoint
from serve_app.training.base import Trainee
from serve_app.training.checkpoint import Progress
from serve_app.training.optimiser import MasterAdamW, learning_rate_factor
from serve_app.training.options import TrainOptions
from serve_app.training.plan import Example, micro_batches, plan_steps


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
) -> RunResult:
    """Train the adapter in place; a checkpoint lies in `checkpoints` after every few steps and at the end.

    Raises TrainingError when `resume` finds a checkpoint of another run.
    """
    steps = plan_steps(examples, options)
    total_tokens = sum(len(example.token_ids) for step in steps for example in step)
    optimiser = MasterAdamW(trainee.trainable(), options.learning_rate, options.weight_decay)
    done = _resumed(optimiser, checkpoints, digest) if resume else Progress(digest, 0, 0, 0.0)
    trainee.model.train()
    for index in range(done.step, len(steps)):
        started = time.perf_counter()
        loss = _step(trainee, optimiser, steps[index], options, index, len(steps))
        done = Progress(
            run_digest=digest,
            step=index + 1,
            num_tokens=done.num_tokens + sum(len(example.token_ids) for example in steps[index]),
            busy_s=done.busy_s + time.perf_counter() - started,
            losses=(*done.losses, loss),
        )
        on_step(StepReport(done.step, len(steps), loss, done.num_tokens, total_tokens, done.busy_s))
        if done.step % options.checkpoint_every_steps == 0 or done.step == len(steps):
            checkpoint.save(checkpoints, done, optimiser.state())
    trainee.model.eval()
    tenth = max(1, len(steps) // 10)
    first, last = _mean(done.losses[:tenth]), _mean(done.losses[-tenth:])
    return RunResult(done.step, done.num_tokens, done.busy_s, first, last)


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
        loss = target_nll(trainee, batch).sum() / num_targets
        loss.backward()
        optimiser.collect()
        total += loss.item()
    factor = learning_rate_factor(index, num_steps, options.warmup_share, options.schedule)
    optimiser.step(factor, options.max_grad_norm)
    return total


def _resumed(optimiser: MasterAdamW, checkpoints: Path, digest: str) -> Progress:
    found = checkpoint.load(checkpoints, digest)
    if found is None:
        return Progress(digest, 0, 0, 0.0)
    progress, tensors = found
    optimiser.load(tensors)
    return progress


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
