"""A trained adapter on disk: PEFT's two files, the manifest, `metrics.json` and the card made from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from serve_app import adapters
from serve_app.adapters.manifest import FILE_NAME as MANIFEST
from serve_app.adapters.peft_config import FILE_NAME as CONFIG
from serve_app.adapters.tensors import FILE_NAME as WEIGHTS
from serve_app.catalogue import ModelFiles
from serve_app.training import curve
from serve_app.training.base import Trainee
from serve_app.training.card import render
from serve_app.training.dataset import Dataset
from serve_app.training.lora import RunResult
from serve_app.training.options import TrainOptions
from serve_app.training.routed import Routed
from serve_app.training.statistics import Comparison

METRICS, CARD = "metrics.json", "README.md"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found, for the card."""

    result: RunResult
    comparisons: Sequence[Comparison]
    routed: Routed | None
    left_out: dict[str, int]
    """Counts of rows left out or cut, by what happened."""
    notes: Sequence[str]


def publish(
    out: Path, trainee: Trainee, base: ModelFiles, dataset: Dataset, options: TrainOptions, outcome: Outcome
) -> None:
    """Write the adapter folder, whole or not at all, checked the way a server will. Raises AdapterError if it fails."""
    part = out.with_name(f".{out.name}.partial")
    if part.exists():  # of a run that was broken off here
        shutil.rmtree(part)
    part.mkdir(parents=True)
    manifest = dataset.manifest.model_copy(update={"base_digest": base.source_digest})
    _write(part / MANIFEST, manifest.model_dump_json(indent=2, exclude_none=True))
    metrics = _metrics(trainee, base, dataset, options, outcome)
    metrics["training"]["picture"] = curve.FILE_NAME if curve.draw(outcome.result, part / curve.FILE_NAME) else None
    _write(part / METRICS, json.dumps(metrics, indent=2))
    _write(part / CARD, render(out.name, metrics, manifest))
    _save_weights(part, trainee, base)
    adapters.verify(adapters.load(part, out.name), base)
    part.rename(out)


def _save_weights(out: Path, trainee: Trainee, base: ModelFiles) -> None:
    config = trainee.model.peft_config["default"]
    config.base_model_name_or_path = base.alias
    config.inference_mode = True
    config.save_pretrained(str(out))
    record = json.loads((out / CONFIG).read_bytes())
    record["target_modules"] = sorted(record["target_modules"])  # a set to PEFT: in any order, and the digest sees it
    _write(out / CONFIG, json.dumps(record, indent=2, sort_keys=True))
    state = get_peft_model_state_dict(trainee.model, save_embedding_layers=False)  # else it asks the hub
    rounded = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in state.items()}
    save_file(rounded, out / WEIGHTS, metadata={"format": "pt"})
    (out / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone; a server may be another user


def _metrics(
    trainee: Trainee, base: ModelFiles, dataset: Dataset, options: TrainOptions, outcome: Outcome
) -> dict[str, Any]:
    """Everything the card says, as data."""
    result, routed = outcome.result, outcome.routed
    return {
        "base": {"alias": base.alias, "source_digest": base.source_digest},
        "data": {
            "train_rows": len(dataset.train),
            "train_sha256": dataset.train_sha256,
            "validation_rows": len(dataset.validation),
            "validation_sha256": dataset.validation_sha256,
            "evaluation_rows": len(dataset.evaluation),
            "evaluation_sha256": dataset.evaluation_sha256,
            "sources_sha256": dataset.sources,
            "notes": dataset.notes,
            "passages": dataset.passages,
            **outcome.left_out,
        },
        "options": asdict(options),
        "training": {
            "steps": result.num_steps,
            "tokens": result.num_tokens,
            "busy_s": round(result.busy_s, 1),
            "tokens_per_s": round(result.tokens_per_s, 1),
            "first_loss": result.first_loss,
            "last_loss": result.last_loss,
            "planned_steps": result.num_planned_steps,
            "best_step": result.best_step,
            "packed": trainee.decoder is not None,
            "losses": [round(loss, 4) for loss in result.losses],
            "validations": [[step, round(loss, 4)] for step, loss in result.validations],
            "dtype": str(trainee.dtype).removeprefix("torch."),
            "device": str(trainee.device),
            "threads": torch.get_num_threads(),
            "notes": list(outcome.notes),
        },
        "evaluation": _records(outcome.comparisons),
        "as_routed": {"share": routed.share, "evaluation": _records(routed.comparisons)} if routed else None,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _records(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [asdict(one) | {"better": one.better} for one in comparisons]


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
