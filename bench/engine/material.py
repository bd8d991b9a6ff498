"""What all contenders share: model, adapters, prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import random_adapters
from serve_app.adapters import AdapterSpec, load

NUM_ADAPTERS = 8
RANK = 16
PROMPT_TOKENS = 100


@dataclass(frozen=True)
class Material:
    """A model folder, PEFT folders on it, and how the contenders compute."""

    path: Path
    adapters: tuple[AdapterSpec, ...]
    dtype: torch.dtype
    vocab: int
    steps: int
    """Decode steps that are timed."""

    def turn(self, num_rows: int) -> list[AdapterSpec]:
        """The adapter of each row of a mixed batch."""
        return [self.adapters[row % len(self.adapters)] for row in range(num_rows)]

    def prompts(self, num_rows: int, seed: int) -> list[list[int]]:
        """Random token ids, all of one length, so that no peer pads."""
        chance = random.Random(seed)
        return [[chance.randrange(self.vocab) for _ in range(PROMPT_TOKENS)] for _ in range(num_rows)]


def make_adapters(model_path: Path, folder: Path) -> tuple[AdapterSpec, ...]:
    """PEFT folders of random weights on all linear layers, in bfloat16."""
    names = [f"adapter-{index}" for index in range(NUM_ADAPTERS)]
    return tuple(load(path, path.name) for path in random_adapters.make(model_path, folder, names, RANK))


def names(adapters: Sequence[AdapterSpec]) -> list[str]:
    """For PEFT's `adapter_names`."""
    return [adapter.name for adapter in adapters]
