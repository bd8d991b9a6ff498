"""What a node's settings are in vLLM's words, and the environment variables it reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.config.nodes import NodeSettings
from serve_app.core import AdapterError, ConfigError

NUM_TOLD = 20
"""Likeliest tokens that vLLM tells with each one: what a caller may ask for at most, and what signals are made of."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM makes room for."""
_BLOCK_TOKENS = 32
"""Prompts are reused in whole blocks: with vLLM's own 128 on CPUs, prompts of a few sentences never would be."""


def set_environment(threads: int) -> None:
    """Before vLLM is imported: its processes inherit it. A variable that is set already is left as it is."""
    for name, value in {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it would take all cores but one, whatever the replica's share
        "OMP_NUM_THREADS": str(threads),
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "HF_HUB_OFFLINE": "1",
    }.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, slots=True)
class LoraRoom:
    """What vLLM sets aside for adapters when it starts: it cannot be changed later."""

    rank: int
    """Of the largest adapter that fits."""
    num_at_once: int
    """Adapters in one batch."""
    num_kept: int
    """Adapters in memory."""


def lora_room(adapters: Sequence[AdapterSpec], node: NodeSettings) -> LoraRoom | None:
    """Room for these and as many new versions; None: for none, ever. Raises AdapterError for one that cannot fit.

    Where the node's `max_adapter_rank` is set there is room for that rank, whatever there is at the start.
    """
    chosen = node.model_fields_set
    if not adapters and "max_adapter_rank" not in chosen:
        return None
    rank = room_for(adapters, node.max_adapter_rank)
    if "max_adapter_rank" in chosen:
        rank = next(one for one in _RANKS if one >= node.max_adapter_rank)
    num_at_once = node.adapter_slots if "adapter_slots" in chosen else min(2 * len(adapters) or 1, node.adapter_slots)
    return LoraRoom(rank, num_at_once, max(2 * len(adapters), num_at_once))


def engine_config(model: ModelFiles, room: LoraRoom | None, node: NodeSettings) -> Any:
    """A VllmConfig. Raises ConfigError, where vLLM is not installed too."""
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
    except ImportError as error:
        raise ConfigError(
            f"engine vllm needs an environment with vLLM in it ({error}); name its interpreter in `python`, see "
            "docs/vllm.md."
        ) from error
    options: dict[str, Any] = {}
    if room is not None:
        options = {
            "enable_lora": True,
            "max_loras": room.num_at_once,
            "max_cpu_loras": room.num_kept,
            "max_lora_rank": room.rank,
        }
    arguments = AsyncEngineArgs(
        model=str(model.path),
        dtype=node.dtype,
        generation_config="vllm",
        skip_tokenizer_init=True,
        max_model_len=context_tokens(model, node),
        max_num_seqs=node.max_rows,
        max_num_batched_tokens=node.step_tokens,
        enable_prefix_caching=True,
        block_size=_BLOCK_TOKENS,
        max_logprobs=NUM_TOLD,
        scheduling_policy="priority",
        disable_log_stats=True,
        worker_extension_cls="serve_app.engines.vllm.lifeline.Lifeline",
        **options,
    )
    try:
        config = arguments.create_engine_config()
    except ValueError as error:
        raise ConfigError(f"vLLM cannot run {model.alias}: {_first_line(error)}") from error
    config.cache_config.kv_cache_memory_bytes = _cache_bytes(config.model_config, node)
    return config


def context_tokens(model: ModelFiles, node: NodeSettings) -> int:
    """Prompt and answer together: the node's bound, or the model's own where it is lower."""
    own = json.loads((model.path / "config.json").read_text()).get("max_position_embeddings")
    return min(node.max_context_tokens, own or node.max_context_tokens)


def room_for(adapters: Sequence[AdapterSpec], highest: int) -> int:
    """The rank that vLLM makes room for: the least that holds every adapter. Raises AdapterError above `highest`."""
    for adapter in adapters:
        if adapter.rank > highest:
            raise AdapterError(
                f"adapter {adapter.name} has rank {adapter.rank}, above the node's max_adapter_rank {highest}; "
                "raise that"
            )
    needed = max((adapter.rank for adapter in adapters), default=1)
    return next(rank for rank in _RANKS if rank >= needed)


def _cache_bytes(model: Any, node: NodeSettings) -> int:
    """Of the key-value cache: `cache_mb`, else room for all rows and prefix slots at full length."""
    if node.cache_mb is not None:
        return node.cache_mb << 20
    token_elements = 2 * model.get_total_num_hidden_layers() * model.get_total_num_kv_heads() * model.get_head_size()
    row_tokens = -(-model.max_model_len // _BLOCK_TOKENS) * _BLOCK_TOKENS
    num_bytes: int = token_elements * model.dtype.itemsize * row_tokens * (node.max_rows + node.prefix_slots)
    return num_bytes


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
