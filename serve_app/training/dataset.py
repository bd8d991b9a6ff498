"""What a run trains on: a JSONL file, or the folder that `headrace adapters prepare` made."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serve_app.adapters import AdapterManifest
from serve_app.adapters.manifest import FILE_NAME as MANIFEST
from serve_app.adapters.manifest import read_manifest
from serve_app.core import DataError, Message
from serve_app.training.rows import Row, file_digest, read_rows
from serve_app.training.specialists.public_sets import Prepared

TRAIN, EVALUATION, PREPARATION = "train.jsonl", "eval.jsonl", "preparation.json"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows with their provenance."""

    train: list[Row]
    evaluation: list[Row]
    manifest: AdapterManifest
    train_sha256: str
    evaluation_sha256: str | None = None
    validation: list[Row] = field(default_factory=list)
    """Never trained on, and read while training: early stopping goes by it. Not for figures."""
    validation_sha256: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    """Files the rows were made from, with sha256; from `prepare`."""
    notes: list[str] = field(default_factory=list)
    """What was left out, from `prepare`."""
    passages: dict[str, Any] | None = None
    """Of a run with passages before the questions: a `passages.PassageRecord`."""


def first_of_each_group(rows: Sequence[Row], num_rows: int) -> list[Row]:
    """At most so many rows of each group, in file order: a cheaper evaluation."""
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row.group] += 1
        if counts[row.group] <= num_rows:
            kept.append(row)
    return kept


def write_prepared(prepared: Prepared, data_dir: Path, out: Path) -> None:
    """Write the four files of a prepared folder; the same data gives the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in ((TRAIN, prepared.train), (EVALUATION, prepared.evaluation)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / name).write_text(text, encoding="utf-8")
    manifest = AdapterManifest(
        description=prepared.description,
        system_prompt=prepared.system_prompt,
        max_tokens=prepared.max_tokens,
        licence=prepared.licence,
    )
    (out / MANIFEST).write_text(manifest.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
    sources = {name: file_digest(data_dir / name) for name in prepared.sources}
    preparation = {"sources": sources, "notes": prepared.notes}
    (out / PREPARATION).write_text(json.dumps(preparation, indent=2) + "\n", encoding="utf-8")


def hold_back(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Move about this share of the training rows to validation, at least one; rows of one prompt stay together.

    Raises DataError where all rows have the same prompt.
    """
    prompts = list(dict.fromkeys(row.messages for row in dataset.train))
    if len(prompts) < 2:
        raise DataError("the training rows have one prompt only: none can be held back; give --validation a file.")
    random.Random(seed).shuffle(prompts)
    held = set(prompts[: min(max(1, round(share * len(prompts))), len(prompts) - 1)])
    train = [row for row in dataset.train if row.messages not in held]
    return replace(dataset, train=train, validation=[row for row in dataset.train if row.messages in held])


def read_dataset(
    data: Path, evaluation: Path | None = None, system_prompt: str | None = None, validation: Path | None = None
) -> Dataset:
    """Read a prepared folder, or a file with an optional evaluation file. Raises DataError naming file and line."""
    folder = data if data.is_dir() else None
    train = data / TRAIN if folder else data
    if folder and evaluation is None and (folder / EVALUATION).exists():
        evaluation = folder / EVALUATION
    manifest = read_manifest(folder) if folder else AdapterManifest()
    if system_prompt is not None:
        manifest = manifest.model_copy(update={"system_prompt": system_prompt})
    rows = read_rows(train)
    held_out = read_rows(evaluation) if evaluation else []
    checked = read_rows(validation) if validation else []
    _refuse_overlap(held_out, "evaluation", rows, "a training")
    _refuse_overlap(checked, "validation", rows, "a training")
    _refuse_overlap(checked, "validation", held_out, "an evaluation")
    preparation = _preparation(folder)
    return Dataset(
        train=_with_system_prompt(rows, manifest.system_prompt),
        evaluation=_with_system_prompt(held_out, manifest.system_prompt),
        manifest=manifest,
        train_sha256=file_digest(train),
        evaluation_sha256=file_digest(evaluation) if evaluation else None,
        validation=_with_system_prompt(checked, manifest.system_prompt),
        validation_sha256=file_digest(validation) if validation else None,
        sources=preparation.get("sources", {}),
        notes=preparation.get("notes", []),
    )


def _with_system_prompt(rows: Sequence[Row], system_prompt: str | None) -> list[Row]:
    """The rows with a system turn put first where they have none of their own."""
    if not system_prompt:
        return list(rows)
    system = Message("system", system_prompt)
    return [row if row.messages[0].role == "system" else replace(row, messages=(system, *row.messages)) for row in rows]


def _refuse_overlap(rows: Sequence[Row], kind: str, others: Sequence[Row], other_kind: str) -> None:
    """A held-out row that was seen before would make the figure after training worthless."""
    known = {(row.messages, row.completion) for row in others}
    for row in rows:
        if (row.messages, row.completion) in known:
            raise DataError(f"{row.source}: this {kind} row is also {other_kind} row; remove it from one of the files.")


def _preparation(folder: Path | None) -> dict[str, Any]:
    path = folder / PREPARATION if folder else None
    if path is None or not path.exists():
        return {}
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); prepare the folder again.") from error
    return record
