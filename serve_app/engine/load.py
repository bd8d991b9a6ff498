"""From files to modules: the base model of a folder, and the matrices of PEFT adapter folders."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from serve_app.adapters import AdapterSpec
from serve_app.core import AdapterError, EngineError
from serve_app.engine.lora import LoraPair

_WEIGHTS = "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")


def read_shape(path: Path) -> tuple[int, int]:
    """(hidden size, inner size) of the model in `path`. Raises EngineError where there is no such model."""
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} holds no model that can be served: {error}") from error
    return config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)


def load_model(path: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """The decoder in `path`, for inference. Raises EngineError for a kind of model whose cache is not a plain slot."""
    transformers_logging.disable_progress_bar()  # a server's log is no place for it
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise EngineError(f"the model in {path} cannot be loaded: {error}") from error
    kinds = set(getattr(model.config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise EngineError(f"the model in {path} has layers of the kind {sorted(kinds)}; only full_attention is served")
    return model.to(device).eval().requires_grad_(False)


def context_limit(config: Any, wanted: int) -> int:
    """Tokens a row may hold: at most `wanted`, and no more than the model answers rightly over whole slots.

    Mistral and its like name a sliding window but no kinds of layers: up to the window it is full attention. The
    `longrope` embedding rescales all positions of a batch once one row passes the original length.
    """
    limits = [wanted, getattr(config, "max_position_embeddings", None)]
    if getattr(config, "layer_types", None) is None:
        limits.append(getattr(config, "sliding_window", None))
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        limits.append(rope.get("original_max_position_embeddings"))
    return min(limit for limit in limits if limit is not None)


def cache_argument(model: nn.Module) -> str:
    """How this transformers version names the cache in `forward`: `cache` since 5.2x, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def read_pairs(adapter: AdapterSpec, model: nn.Module) -> dict[str, LoraPair]:
    """Module path -> matrices of one adapter, checked against the model. Raises AdapterError that names the tensor."""
    try:
        tensors = load_file(adapter.path / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"adapter {adapter.name}: {adapter.path / _WEIGHTS} cannot be read: {error}") from error
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise AdapterError(
                f"adapter {adapter.name}: tensor {key} is no LoRA matrix of a linear layer; retrain without it"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"adapter {adapter.name}: tensor {key} has values that are not finite; retrain it")
        sides.setdefault(match["path"], {})[match["side"]] = tensor
    return {path: _pair(adapter, path, both, model) for path, both in sides.items()}


def read_adapters(adapters: Sequence[AdapterSpec], model: nn.Module) -> list[Mapping[str, LoraPair]]:
    """`read_pairs` of each, in order."""
    return [read_pairs(adapter, model) for adapter in adapters]


def _pair(adapter: AdapterSpec, path: str, both: Mapping[str, torch.Tensor], model: nn.Module) -> LoraPair:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Linear):
        raise AdapterError(
            f"adapter {adapter.name}: the base has no linear layer {path}; it was trained for another base"
        )
    if set(both) != {"A", "B"}:
        raise AdapterError(f"adapter {adapter.name}: {path} has only one of its two LoRA matrices; the file is damaged")
    expected = ((adapter.rank, module.in_features), (module.out_features, adapter.rank))
    found = (tuple(both["A"].shape), tuple(both["B"].shape))
    if found != expected:
        raise AdapterError(f"adapter {adapter.name}: {path} has shapes {found}, the base and rank need {expected}")
    return LoraPair(both["A"], both["B"], adapter.scaling)
