"""Many adapters on disk, quickly: one PEFT folder, and its copies with other random weights."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench import random_adapters

RANK = 8
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def make_many(model_path: Path, folder: Path, count: int) -> dict[str, Path]:
    """Name -> folder. On all linear layers, in bfloat16."""
    (first,) = random_adapters.make(model_path, folder, ["first"], RANK)
    shapes = load_file(first / _WEIGHTS)
    found = {}
    for index in range(count):
        torch.manual_seed(index)
        path = folder / f"adapter-{index:03}"
        path.mkdir()
        shutil.copy(first / _CONFIG, path)
        save_file({key: torch.randn_like(one) * 0.02 for key, one in shapes.items()}, path / _WEIGHTS)
        found[path.name] = path
    return found
