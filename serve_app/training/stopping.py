"""Early stopping: the best weights by validation loss, and when to give up. Its state is part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

_PREFIX = "best/"


class Stopping:
    """Follows the validations of one run."""

    def __init__(self, patience: int | None, validations: Sequence[tuple[int, float]] = ()) -> None:
        self._patience = patience
        self.validations = list(validations)
        """Steps done and loss, in order."""
        self._best: dict[str, torch.Tensor] = {}

    @property
    def best_step(self) -> int | None:
        """Where the loss was lowest; None before the first validation. A loss that is no number is never best."""
        finite = [(loss, step) for step, loss in self.validations if loss == loss]
        return min(finite)[1] if finite else None

    @property
    def stopped(self) -> bool:
        """Whether `patience` validations have passed since the best."""
        if self._patience is None or not self.validations:
            return False
        best = self.best_step
        since = [step for step, _ in self.validations if best is None or step > best]
        return len(since) >= self._patience

    @property
    def best(self) -> Mapping[str, torch.Tensor] | None:
        """Weights at `best_step`; None without early stopping."""
        return self._best or None

    def note(self, step: int, loss: float, weights: Mapping[str, torch.Tensor]) -> None:
        """A validation after `step` steps; `weights` are kept if it is the best so far."""
        self.validations.append((step, loss))
        if self._patience is not None and self.best_step == step:
            self._best = dict(weights)

    def state(self) -> dict[str, torch.Tensor]:
        """The best weights under flat names, for a safetensors file."""
        return {f"{_PREFIX}{name}": weight for name, weight in self._best.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state` gave, found among other tensors."""
        names = [name for name in tensors if name.startswith(_PREFIX)]
        self._best = {name.removeprefix(_PREFIX): tensors[name] for name in names}
