"""The training stage: response distillation, on the large model's answers as if they were references.

Logit distillation would need the large model's probabilities over the small one's vocabulary. The shipped models do not
share a tokenizer (SmolLM2's and Qwen's), and a captured answer holds no probabilities, so only texts are learnt.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.distill.plan import LoraSettings
from serve_app.training.checkpoint import FILE_NAME as CHECKPOINT
from serve_app.training.dataset import read_dataset
from serve_app.training.evaluate import EvaluationOptions
from serve_app.training.options import TrainOptions
from serve_app.training.run import Watch, run


@dataclass(frozen=True, slots=True)
class LoraTrainer:
    """A `pipeline.Trainer`."""

    base: ModelFiles
    settings: LoraSettings
    watch: Watch
    note: str = ""
    """A sentence for the card."""

    def __call__(self, rows: Path, out: Path, manifest: AdapterManifest, start: AdapterSpec | None) -> dict[str, Any]:
        """See `Trainer`. Raises TrainingError, DataError or AdapterError."""
        dataset = replace(read_dataset(rows, system_prompt=manifest.system_prompt), manifest=manifest)
        resume = (out.with_name(f"{out.name}.run") / CHECKPOINT).exists()
        notes = [self.note] if self.note else []
        trained = run(
            self.base, dataset, out, self._options(start), EvaluationOptions(), self.watch, resume, None, notes, start
        )
        return {**asdict(trained.result), "rows": len(dataset.train), "too_long": len(trained.too_long)}

    def _options(self, start: AdapterSpec | None) -> TrainOptions:
        options = TrainOptions(**self.settings.model_dump(exclude={"go_on"}))
        if start is None:
            return options
        return replace(options, rank=start.rank, alpha=start.alpha, target_modules=start.target_modules)
