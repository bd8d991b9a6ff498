"""A half-done run on disk: one safetensors file, replaced atomically. Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from serve_app.training.options import TrainingError

FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run got, and what it is a run of."""

    run_digest: str
    """Options, data and base together."""
    step: int
    """Steps done."""
    num_tokens: int
    """Non-pad tokens trained on."""
    busy_s: float
    """Seconds spent in steps, over all sessions of the run."""
    losses: tuple[float, ...] = ()
    """Of every step done, nats a completion token."""
    validations: tuple[tuple[int, float], ...] = ()
    """Steps done and validation loss, nats a completion token, of every validation."""


def save(folder: Path, progress: Progress, tensors: dict[str, torch.Tensor]) -> None:
    """Write the checkpoint of a run; a crash leaves the old one or the new one, never half."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE_NAME}.partial"
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, partial, metadata={"progress": json.dumps(asdict(progress))})
    partial.replace(folder / FILE_NAME)


def load(folder: Path, run_digest: str) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """The checkpoint in a folder, or None when there is none.

    Raises TrainingError when it is damaged, or of a run with other options, data or base.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as opened:
            record = json.loads(opened.metadata()["progress"])
            validations = tuple((step, loss) for step, loss in record["validations"])
            progress = Progress(**record | {"losses": tuple(record["losses"]), "validations": validations})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the checkpoint {path} is damaged ({error}); delete it and start again.") from error
    if progress.run_digest != run_digest:
        raise TrainingError(
            f"the checkpoint {path} is of a run with other options, data or base; "
            "start with the same ones, or without --resume."
        )
    return progress, tensors
