"""An adapter against a base: is it the base it was trained on, and do the shapes fit?"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from serve_app.adapters import tensors
from serve_app.adapters.folder import paired_modules
from serve_app.adapters.spec import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.core import AdapterError

_LAYER = re.compile(r"model\.layers\.(0|[1-9]\d*)\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)")


def verify(spec: AdapterSpec, base: ModelFiles, base_override: bool = False) -> AdapterSpec:
    """The spec with `verified` set. Raises AdapterError when it belongs to another base or does not fit this one.

    A digest of the base in the manifest decides. Without one, a base model named like this base is taken on trust and
    stays unverified. `base_override` lets another base pass, unverified; shapes are checked in any case.
    """
    verified = same_base(spec, base, base_override)
    check_shapes(spec, base.path)
    return replace(spec, verified=verified)


def check_shapes(spec: AdapterSpec, base: Path) -> None:
    """Raise AdapterError when a matrix does not fit the layers that the base's config.json describes."""
    weights = spec.path / tensors.FILE_NAME
    widths, num_layers = _base_widths(base)
    for module, found in paired_modules(weights, tensors.read_entries(weights), spec.rank).items():
        layer = _LAYER.fullmatch(module)
        if layer is None or int(layer[1]) >= num_layers:
            raise AdapterError(
                f"adapter {spec.name!r} adapts {module}, which the base does not have; it belongs to another base."
            )
        wanted = widths[module.rpartition(".")[2]]
        if found != wanted:
            raise AdapterError(
                f"adapter {spec.name!r} has {module} of {found[0]} to {found[1]}, the base {wanted[0]} to {wanted[1]}; "
                "it belongs to another base."
            )


def same_base(spec: AdapterSpec, base: ModelFiles, base_override: bool) -> bool:
    """Whether the manifest names the base's digest. Raises AdapterError when the adapter is of another base."""
    if spec.base_digest is not None:
        if spec.base_digest == base.source_digest:
            return True
        if not base_override:
            raise AdapterError(
                f"adapter {spec.name!r} was trained on the base {spec.base_digest[:12]}, and {base.alias!r} is "
                f"{base.source_digest[:12]}; serve it on its own base, or pass --base-override."
            )
        return False
    if _short_name(spec.base_model) != _short_name(base.alias) and not base_override:
        raise AdapterError(
            f"adapter {spec.name!r} names the base {spec.base_model!r}, and this one is {base.alias!r}; "
            "serve it on its own base, or pass --base-override."
        )
    return False


def _short_name(model: str | None) -> str | None:
    """`HuggingFaceTB/SmolLM2-135M-Instruct` and a folder of that name are the alias `smollm2-135m-instruct`."""
    return model.rstrip("/").rpartition("/")[2].lower() if model else None


def _base_widths(base: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """(in, out) of every served module, and the number of layers."""
    path = base / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        num_heads = config["num_attention_heads"]
        head = config.get("head_dim") or hidden // num_heads
        keys = head * (config.get("num_key_value_heads") or num_heads)
        num_layers = int(config["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{path} does not describe a decoder ({error!r}); pull the base again.") from error
    queries = head * num_heads
    widths = {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }
    return widths, num_layers
