"""What the checklist reads of the reports beside an adapter's weights. What it does not name may be anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_app.core import DataError


class _Report(BaseModel):
    """Fields that it does not know are others' business; what is there has to be of the right kind."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Options(_Report):
    """How it was trained."""

    seed: int | None = None
    learning_rate: float | None = None


class Data(_Report):
    """What it was trained on."""

    train_rows: int | None = None
    train_sha256: str | None = None


class Training(_Report):
    """How it went. Losses in nats a token."""

    first_loss: float | None = None
    last_loss: float | None = None
    validations: tuple[tuple[float, float], ...] = ()
    """Step and loss."""
    best_step: int | None = None


class Compared(_Report):
    """One figure of held-out rows: the adapter's minus the base's, with its 95 % interval."""

    group: str
    metric: str
    low: float
    high: float
    better: bool

    @property
    def worse(self) -> bool:
        """The interval lies on the wrong side; a loss is better when it falls."""
        return self.low > 0 if self.metric == "loss" else self.high < 0


class Metrics(_Report):
    """`metrics.json`, as `headrace adapters train` writes it."""

    options: Options = Options()
    data: Data = Data()
    training: Training = Training()
    evaluation: tuple[Compared, ...] = ()


class GateCheck(_Report):
    """One question of the gate."""

    name: str
    passed: bool


class Domain(_Report):
    """One other domain that was compared."""

    group: str


class Gate(_Report):
    """`gate.json`, as `headrace distill` writes it."""

    version: str
    passed: bool
    checks: tuple[GateCheck, ...] = ()
    regression: tuple[Domain, ...] = ()


R = TypeVar("R", bound=_Report)


def read_report(file: Path, kind: type[R]) -> R | None:
    """None where there is no such file. Raises DataError, which names file and field, for one that is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({type(error).__name__}); write it again, or delete it.") from error
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise DataError(f"{file}: {where}: {first['msg']}; write it again, or delete it.") from error
