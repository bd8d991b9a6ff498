"""What a LoRA run may be told, and the one error that training raises of its own."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Literal

from serve_app.core import HeadraceError

LINEAR_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainingError(HeadraceError):
    """A training run cannot start or go on."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Hyper-parameters of one run; together with data and base they fix its result on one machine."""

    rank: int = 16
    alpha: float = 32.0
    target_modules: tuple[str, ...] = LINEAR_MODULES
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup_share: float = 0.05
    """Of all steps."""
    epochs: float = 1.0
    token_budget: int | None = None
    """Non-pad tokens to train on, prompts included; stops earlier than `epochs` or repeats the data to reach it."""
    rows_per_step: int = 16
    """Rows between two updates of the weights."""
    micro_batch_tokens: int = 4096
    """Padded tokens of one forward pass, at most (one row always fits)."""
    max_length_tokens: int = 1024
    """Longest row, prompt and completion together."""
    packing: bool = True
    """Lay rows flat and process what they share once, on bases whose layers are known; False: padded batches."""
    validation_share: float = 0.0
    """Of the training rows, held back to be validated on; rows of one prompt stay together."""
    validate_every_steps: int = 20
    patience: int | None = None
    """Stop after so many validations without a lower loss, and take the best weights. None: no early stopping."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int = 0
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """`auto` times one step in each and takes the faster."""
    device: str = "auto"
    checkpoint_every_steps: int = 50

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "learning_rate", "epochs", "rows_per_step", "micro_batch_tokens",
                     "max_length_tokens", "checkpoint_every_steps", "validate_every_steps"):  # fmt: skip
            if not 0 < getattr(self, name) < math.inf:
                raise TrainingError(f"{name} must be a number greater than 0; it is {getattr(self, name)}.")
        if self.token_budget is not None and self.token_budget <= 0:
            raise TrainingError(f"token_budget must be greater than 0; it is {self.token_budget}.")
        if self.patience is not None and self.patience <= 0:
            raise TrainingError(f"patience must be greater than 0; it is {self.patience}.")
        if not 0 <= self.validation_share < 1:
            raise TrainingError(f"validation_share must be at least 0 and below 1; it is {self.validation_share}.")
        if not self.target_modules:
            raise TrainingError("target_modules is empty; name at least one linear layer such as q_proj.")

    def digest(self) -> str:
        """Identifies the options; a checkpoint of another digest is not resumed."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
