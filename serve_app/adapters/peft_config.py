"""`adapter_config.json` as PEFT writes it: plain LoRA is read, everything else is refused by its name.

What is not known here and is switched on is refused too: an adapter that is run without one of its features answers
wrongly and silently.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import AdapterError

FILE_NAME = "adapter_config.json"
MAX_RANK = 512
_MAX_BYTES = 1024 * 1024

_NO_EFFECT = {
    "alpha", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode",
    "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core",
    "peft_type", "peft_version", "qalora_group_size", "r", "revision", "target_modules", "task_type", "use_rslora",
    "eva_config", "corda_config", "loftq_config", "lora_ga_config", "runtime_config",
}  # fmt: skip
"""Keys read below, or that only concern training: which modules have weights is seen in the weights file."""

_REFUSED = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "modules_to_save": "fully trained modules beside the LoRA (modules_to_save)",
    "rank_pattern": "a rank per module (rank_pattern)",
    "alpha_pattern": "an alpha per module (alpha_pattern)",
    "layer_replication": "layer replication",
    "trainable_token_indices": "trained token embeddings (trainable_token_indices)",
    "target_parameters": "LoRA on bare parameters (target_parameters)",
    "lora_bias": "a bias on the B matrices (lora_bias)",
    "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow routing",
    "megatron_config": "Megatron layers",
    "fan_in_fan_out": "transposed weights (fan_in_fan_out)",
}
_REFUSED_INITS = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")
"""Initialisations that change the base's own weights, so that the adapter fits no other copy of it."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What the engine needs of the file."""

    rank: int
    alpha: float
    use_rslora: bool
    base_model: str | None


def read_peft_config(folder: Path) -> PeftConfig:
    """Read and check the file. Raises AdapterError in one sentence."""
    path = folder / FILE_NAME
    record = _read_object(path)
    if record.get("peft_type") != "LORA":
        raise AdapterError(f"{path}: peft_type is {record.get('peft_type')!r}; only LORA adapters can be served.")
    _refuse_features(record, path)
    return PeftConfig(
        rank=_rank(record, path),
        alpha=_alpha(record, path),
        use_rslora=_use_rslora(record, path),
        base_model=_base_model(record, path),
    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AdapterError(
            f"{path} is missing: this is no PEFT adapter folder; give the folder that your trainer saved."
        )
    if path.stat().st_size > _MAX_BYTES:
        raise AdapterError(
            f"{path} is over {_MAX_BYTES} bytes, so it is no PEFT configuration; save the adapter again."
        )
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not readable JSON ({error}); save the adapter again.") from error
    if not isinstance(record, dict):
        raise AdapterError(f"{path} holds no JSON object; save the adapter again with PEFT.")
    return record


def _refuse_features(record: dict[str, Any], path: Path) -> None:
    for key, feature in _REFUSED.items():
        if record.get(key):
            raise AdapterError(f"{path}: the adapter uses {feature}, which is not served; train plain LoRA without it.")
    if record.get("bias", "none") != "none":
        raise AdapterError(f"{path}: bias is {record['bias']!r}; only bias 'none' can be served.")
    init = record.get("init_lora_weights")
    if isinstance(init, str) and init.lower().startswith(_REFUSED_INITS):
        raise AdapterError(
            f"{path}: init_lora_weights {init!r} changes the base's weights; convert the adapter to plain LoRA with "
            "PEFT's path_initial_model_for_weight_conversion."
        )
    for key, value in record.items():
        if key not in _NO_EFFECT and key not in _REFUSED and value:
            raise AdapterError(
                f"{path}: the setting {key} is not known here and not served; train plain LoRA without it."
            )


def _rank(record: dict[str, Any], path: Path) -> int:
    rank = record.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= MAX_RANK:
        raise AdapterError(f"{path}: r is {rank!r}; it must be a whole number from 1 to {MAX_RANK}.")
    return rank


def _alpha(record: dict[str, Any], path: Path) -> float:
    alpha = record.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        raise AdapterError(f"{path}: lora_alpha is {alpha!r}; it must be a number greater than 0.")
    return float(alpha)


def _use_rslora(record: dict[str, Any], path: Path) -> bool:
    found = record.get("use_rslora") or False
    if not isinstance(found, bool):
        raise AdapterError(f"{path}: use_rslora is {found!r}; it must be true or false.")
    return found


def _base_model(record: dict[str, Any], path: Path) -> str | None:
    name = record.get("base_model_name_or_path")
    if name is not None and not isinstance(name, str):
        raise AdapterError(f"{path}: base_model_name_or_path must be a string; it is {name!r}.")
    return name or None
