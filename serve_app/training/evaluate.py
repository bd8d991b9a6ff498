"""The model on held-out rows: greedy text, likeliest choice, and loss of the reference. Plain transformers and PEFT.

Independent of the serving engine on purpose: it is the reference that the engine is checked against.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from serve_app.core import DataError
from serve_app.labelling.texts import stated_verdict
from serve_app.training.base import Trainee
from serve_app.training.lora import target_nll
from serve_app.training.plan import Example, encode, micro_batches, prompt_ids
from serve_app.training.rows import Row
from serve_app.training.scores import BALANCED, GENERATED
from serve_app.training.statistics import RowScore

_BATCH_ROWS = 32


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How held-out rows are scored."""

    metric: str = "loss"
    """For rows that name none."""
    max_new_tokens: int = 64
    rows_per_group: int | None = None
    """Score the first so many rows of each group; None scores all."""
    max_length_tokens: int = 1024
    """Longer prompts cannot be scored: DataError."""
    micro_batch_tokens: int = 4096


def evaluate(
    trainee: Trainee,
    rows: Sequence[Row],
    options: EvaluationOptions,
    adapted: bool,
    on_rows: Callable[[int], None] = lambda num_rows: None,
) -> list[RowScore]:
    """Scores of every row under each of its metrics, in row order; `adapted` False switches the adapter off.

    `on_rows` is told how many row-metrics were finished. Raises DataError for rows that cannot be scored.
    """
    wanted = [(index, metric) for index, row in enumerate(rows) for metric in row.metrics or (options.metric,)]
    found: dict[tuple[int, str], RowScore] = {}
    trainee.model.eval()
    with torch.inference_mode(), nullcontext() if adapted else trainee.model.disable_adapter():
        for kind, score in (("loss", _losses), ("choice", _choices), ("generated", _texts)):
            places = sorted({index for index, metric in wanted if _kind(metric) == kind})
            for one in score(trainee, rows, places, options, on_rows):
                found[one.row, one.metric] = one
    return [found[key] for key in wanted]


def _kind(metric: str) -> str:
    return "generated" if metric in GENERATED else metric


def _losses(
    trainee: Trainee,
    rows: Sequence[Row],
    places: Sequence[int],
    options: EvaluationOptions,
    on_rows: Callable[[int], None],
) -> list[RowScore]:
    if not places:
        return []
    encoded = encode([rows[index] for index in places], trainee.tokenizer, options.max_length_tokens)
    if encoded.too_long:
        raise DataError(f"{encoded.too_long[0]}: the prompt is over {options.max_length_tokens} tokens; shorten it.")
    index_of = {id(example): index for example, index in zip(encoded.examples, places, strict=True)}
    scores = []
    for batch in micro_batches(encoded.examples, options.micro_batch_tokens):
        sums = [float(part.sum()) for part in target_nll(trainee, batch).split([one.num_targets for one in batch])]
        for example, nats in zip(batch, sums, strict=True):
            index = index_of[id(example)]
            scores.append(RowScore(index, rows[index].group, "loss", nats, float(example.num_targets)))
        on_rows(len(batch))
    return scores


def _choices(
    trainee: Trainee,
    rows: Sequence[Row],
    places: Sequence[int],
    options: EvaluationOptions,
    on_rows: Callable[[int], None],
) -> list[RowScore]:
    """The likeliest first token among the choices: what greedy decoding would begin with, were it to answer at all."""
    prompts = {index: Example(tuple(prompt_ids(rows[index].messages, trainee.tokenizer)), 0) for index in places}
    index_of = {id(example): index for index, example in prompts.items()}
    scores = []
    for batch in micro_batches(list(prompts.values()), options.micro_batch_tokens):
        logits = _next_logits(trainee, batch)
        for example, row_logits in zip(batch, logits, strict=True):
            index = index_of[id(example)]
            scores.append(_choice_score(trainee, rows[index], index, row_logits))
        on_rows(len(batch))
    return scores


def _choice_score(trainee: Trainee, row: Row, index: int, logits: torch.Tensor) -> RowScore:
    if len(row.choices) < 2:
        raise DataError(f"{row.source}: the metric choice needs at least two choices.")
    firsts = [trainee.tokenizer(choice, add_special_tokens=False)["input_ids"][0] for choice in row.choices]
    if len(set(firsts)) < len(firsts):
        raise DataError(f"{row.source}: choices must begin with different tokens; reword them.")
    picked = row.choices[int(logits[firsts].argmax())]
    right = float(picked == row.completion)
    return RowScore(index, row.group, "choice", right, label=row.completion, answer=picked)


def _next_logits(trainee: Trainee, batch: Sequence[Example]) -> torch.Tensor:
    """Logits after the last token of each row, (rows, vocabulary)."""
    longest = max(len(example.token_ids) for example in batch)
    token_ids = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, example in enumerate(batch):
        token_ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
    last = torch.tensor([len(example.token_ids) - 1 for example in batch], device=trainee.device)
    states = trainee.hidden_states(token_ids.to(trainee.device))
    return trainee.logits(states[torch.arange(len(batch), device=trainee.device), last])


def _texts(
    trainee: Trainee,
    rows: Sequence[Row],
    places: Sequence[int],
    options: EvaluationOptions,
    on_rows: Callable[[int], None],
) -> list[RowScore]:
    prompts = {index: prompt_ids(rows[index].messages, trainee.tokenizer) for index in places}
    order = sorted(places, key=lambda index: len(prompts[index]))
    scores: list[RowScore] = []
    for start in range(0, len(order), _BATCH_ROWS):
        batch = order[start : start + _BATCH_ROWS]
        texts = generate(trainee, [prompts[index] for index in batch], options)
        texts = [_with_verdict(trainee, rows[index], text) for index, text in zip(batch, texts, strict=True)]
        found = [
            _text_score(rows[index], index, metric, text)
            for index, text in zip(batch, texts, strict=True)
            for metric in rows[index].metrics or (options.metric,)
            if metric in GENERATED
        ]
        scores += found
        on_rows(len(found))
    return scores


def _with_verdict(trainee: Trainee, row: Row, text: str) -> str:
    """A model that talks around a yes-or-no question is not failed for that: its likelier choice is added."""
    if "verdict" not in row.metrics or not row.choices or stated_verdict(text) is not None:
        return text
    example = Example(tuple(prompt_ids(row.messages, trainee.tokenizer)), 0)
    return (
        f"{_choice_score(trainee, row, 0, _next_logits(trainee, [example])[0]).answer}. [likelier choice; said: {text}]"
    )


def _text_score(row: Row, index: int, metric: str, text: str) -> RowScore:
    label = row.completion if metric in BALANCED else ""
    return RowScore(index, row.group, metric, GENERATED[metric](text, row.completion), label=label, answer=text)


def generate(trainee: Trainee, prompts: Sequence[Sequence[int]], options: EvaluationOptions) -> list[str]:
    """Greedy answers to tokenised prompts, one batch, white space stripped."""
    longest = max(len(prompt) for prompt in prompts)
    pad = trainee.tokenizer.pad_token_id if trainee.tokenizer.pad_token_id is not None else 0
    token_ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    outputs = trainee.model.generate(
        input_ids=token_ids.to(trainee.device),
        attention_mask=mask.to(trainee.device),
        max_new_tokens=options.max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
        eos_token_id=trainee.tokenizer.eos_token_id,
    )
    texts = trainee.tokenizer.batch_decode(outputs[:, longest:], skip_special_tokens=True)
    return [text.strip() for text in texts]
