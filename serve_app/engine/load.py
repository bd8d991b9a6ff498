"""From files to modules: the base model of a folder, and the matrices of PEFT adapter folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from serve_app.adapters import AdapterSpec
from serve_app.adapters.tensors import FILE_NAME as WEIGHTS
from serve_app.core import AdapterError, EngineError
from serve_app.engine.bank import LoraPair, SiteShape

_KEY = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")


def read_config(path: Path) -> Any:
    """The configuration of the model in `path`. Raises EngineError where there is no such model."""
    try:
        return AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} holds no model that can be served: {error}") from error


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


def use_one_core() -> None:
    """For a thread that works beside the engine's. Each further pool of OpenMP threads would also make all pools sleep
    between products where they would spin, which takes half of the engine's speed."""
    if torch.get_num_threads() != 1:  # setting it empties caches of compiled products
        torch.set_num_threads(1)


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


@dataclass(frozen=True, slots=True)
class Target:
    """What an adapter must fit: linear layers of the base, the widest rank a slot holds, the number type served."""

    widths: Mapping[str, tuple[int, int]]
    """Module path -> (in features, out features)."""
    max_rank: int
    dtype: torch.dtype

    @classmethod
    def of(cls, shapes: Sequence[SiteShape], max_rank: int, dtype: torch.dtype) -> Target:
        """The target that the sites of a model make up."""
        widths = {
            path: (shape.in_features, width)
            for shape in shapes
            for path, width in zip(shape.paths, shape.widths, strict=True)
        }
        return cls(widths, max_rank, dtype)


def read_pairs(adapter: AdapterSpec, target: Target) -> dict[str, LoraPair]:
    """Module path -> matrices of one adapter, checked. Raises AdapterError that names the tensor and says why."""
    if adapter.rank > target.max_rank:
        raise AdapterError(
            f"adapter {adapter.name} has rank {adapter.rank}, more than the {target.max_rank} an adapter slot holds; "
            f"raise max_adapter_rank"
        )
    try:
        tensors = load_file(adapter.path / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"adapter {adapter.name}: {adapter.path / WEIGHTS} cannot be read: {error}") from error
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise AdapterError(
                f"adapter {adapter.name}: tensor {key} is no LoRA matrix of a linear layer; retrain without it"
            )
        if not bool(torch.isfinite(tensor.to(target.dtype)).all()):
            raise AdapterError(
                f"adapter {adapter.name}: tensor {key} has values that are not finite in {target.dtype}; retrain it"
            )
        sides.setdefault(match["path"], {})[match["side"]] = tensor
    return {path: _pair(adapter, path, both, target) for path, both in sides.items()}


def _pair(adapter: AdapterSpec, path: str, both: Mapping[str, torch.Tensor], target: Target) -> LoraPair:
    if path not in target.widths:
        raise AdapterError(
            f"adapter {adapter.name}: the base has no linear layer {path} that an adapter may change; "
            f"it was trained for another base, or on its head"
        )
    if set(both) != {"A", "B"}:
        raise AdapterError(f"adapter {adapter.name}: {path} has only one of its two LoRA matrices; the file is damaged")
    in_features, out_features = target.widths[path]
    expected = ((adapter.rank, in_features), (out_features, adapter.rank))
    found = (tuple(both["A"].shape), tuple(both["B"].shape))
    if found != expected:
        raise AdapterError(f"adapter {adapter.name}: {path} has shapes {found}, the base and rank need {expected}")
    if not bool(torch.isfinite((both["B"].float() * adapter.scaling).to(target.dtype)).all()):
        raise AdapterError(f"adapter {adapter.name}: {path} overflows {target.dtype} once scaled by {adapter.scaling}")
    return LoraPair(both["A"], both["B"], adapter.scaling)
