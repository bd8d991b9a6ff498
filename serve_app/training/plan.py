"""Tokens of the rows, and which rows make which step: the whole order of a run, fixed by its seed.

Rows of similar length share a step (length grouping), so that little of a padded batch is padding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.core import Message
from serve_app.training.options import TrainingError, TrainOptions
from serve_app.training.rows import Row

_STEPS_PER_GROUP = 8
"""Rows are sorted by length within this many steps: enough to pad little, few enough to stay shuffled."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row in tokens; the loss is on those from `num_prompt_tokens` on."""

    token_ids: tuple[int, ...]
    num_prompt_tokens: int

    @property
    def num_targets(self) -> int:
        """Tokens the loss is taken on, the end token included."""
        return len(self.token_ids) - self.num_prompt_tokens


@dataclass(frozen=True, slots=True)
class Encoded:
    """The rows of a file in tokens, and what did not fit."""

    examples: tuple[Example, ...]
    too_long: tuple[str, ...]
    """Sources of the rows left out because the prompt alone fills the maximum length."""
    num_cut: int
    """Rows, included in `examples`, whose completion was cut at the maximum length."""


def prompt_ids(messages: Sequence[Message], tokenizer: Any) -> list[int]:
    """The chat template applied, up to where the assistant begins."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(rows: Sequence[Row], tokenizer: Any, max_length_tokens: int) -> Encoded:
    """Tokens of every row that fits. Raises TrainingError when none does."""
    examples: list[Example] = []
    too_long: list[str] = []
    num_cut = 0
    for row in rows:
        prompt = prompt_ids(row.messages, tokenizer)
        answer = [*tokenizer(row.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if len(prompt) >= max_length_tokens:
            too_long.append(row.source)
            continue
        num_cut += len(prompt) + len(answer) > max_length_tokens
        examples.append(Example(tuple((prompt + answer)[:max_length_tokens]), len(prompt)))
    if not examples:
        raise TrainingError(
            f"every prompt is longer than {max_length_tokens} tokens; raise --max-length or shorten the rows."
        )
    return Encoded(tuple(examples), tuple(too_long), num_cut)


def plan_steps(examples: Sequence[Example], options: TrainOptions) -> list[list[Example]]:
    """The rows of every step of the run, in order; the same for the same examples and options."""
    per_epoch = sum(len(example.token_ids) for example in examples)
    wanted = options.token_budget or round(per_epoch * options.epochs)
    if wanted < 1:
        raise TrainingError(f"{options.epochs:g} epochs of {per_epoch} tokens are no step; raise --epochs.")
    steps: list[list[Example]] = []
    planned = 0
    for step in _endless_steps(examples, options):
        if planned >= wanted:
            break
        steps.append(step)
        planned += sum(len(example.token_ids) for example in step)
    return steps


def micro_batches(step: Sequence[Example], max_padded_tokens: int) -> list[list[Example]]:
    """A step's rows, longest first, cut so that rows x longest row stays within the limit."""
    batches: list[list[Example]] = []
    for example in sorted(step, key=lambda one: len(one.token_ids), reverse=True):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0].token_ids) <= max_padded_tokens:
            batches[-1].append(example)
        else:
            batches.append([example])
    return batches


def _endless_steps(examples: Sequence[Example], options: TrainOptions) -> Iterator[list[Example]]:
    rng = random.Random(options.seed)
    size = options.rows_per_step
    while True:
        order = list(examples)
        rng.shuffle(order)
        for start in range(0, len(order), size * _STEPS_PER_GROUP):
            group = sorted(order[start : start + size * _STEPS_PER_GROUP], key=lambda one: len(one.token_ids))
            steps = [group[at : at + size] for at in range(0, len(group), size)]
            rng.shuffle(steps)
            yield from steps
