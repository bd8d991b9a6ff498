"""Any decoder of transformers that takes its attention from the attention interface, run as its authors wrote it.

Its attention is replaced through `AttentionInterface`, its linear layers get the adapters' share added, and its cache
is one that hands the new keys and values through: attention itself writes them to the slots.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

from serve_app.core import EngineError
from serve_app.engine.bank import Site, SiteShape
from serve_app.engine.decoders.protocol import Parts
from serve_app.engine.kernels.protocol import Heads
from serve_app.engine.linear import make_linear, settle
from serve_app.engine.step import Step

ATTENTION = "headrace_slots"
_MEANINGFUL = {"softcap", "s_aux", "position_bias"}
"""Arguments of attention that change its result and are not implemented."""


@dataclass(slots=True)
class _State:
    """Shared by the modules of one model; `step` is set before each forward pass."""

    parts: Parts
    step: Step | None = None
    num_attended: int = 0
    """Layers whose attention came here in this step."""


def site_shapes(model: nn.Module) -> list[SiteShape]:
    """Where adapters may act: every linear layer but the head, which sees only some of the tokens."""
    head = model.get_output_embeddings()
    return [
        SiteShape((path,), module.in_features, (module.out_features,))
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    ]


class GenericDecoder:
    """A Decoder around a transformers model, which it changes."""

    name = "generic"

    def __init__(self, model: Any, parts: Parts) -> None:
        self._state = _State(parts)
        for path, site in parts.bank.sites.items():
            parent, _, name = path.rpartition(".")
            linear = make_linear(parts.linear, [model.get_submodule(path)])
            setattr(model.get_submodule(parent), name, _LoraLinear(linear, site, self._state))
        settle(model.modules())
        for module in model.modules():
            if hasattr(module, "layer_idx"):
                module.slot_state = self._state
        AttentionInterface.register(ATTENTION, _attend)
        model.set_attn_implementation(ATTENTION)
        self._model = model
        self._cache = _PassThrough(len(parts.cache.layers))
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"

    def forward(self, step: Step) -> torch.Tensor:
        """See Decoder."""
        state = self._state
        state.step, state.num_attended = step, 0
        output = self._model(
            input_ids=step.ids[None],
            position_ids=step.positions[None],
            use_cache=True,
            logits_to_keep=step.sampled,
            **{self._cache_name: self._cache},
        )
        if state.num_attended != len(state.parts.cache.layers):  # its layers attend in a way of their own
            raise EngineError(
                "this model does not take its attention from transformers' interface; it cannot be served"
            )
        logits: torch.Tensor = output.logits[0]
        return logits


class _LoraLinear(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """A linear layer of the base, and the adapters' share of it."""

    def __init__(self, base: nn.Module, site: Site, state: _State) -> None:
        super().__init__()
        self.base = base
        self._site, self._state = site, state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [1, tokens, in] -> [1, tokens, out]."""
        out: torch.Tensor = self.base(x)
        step = self._state.step
        assert step is not None
        if step.runs and self._site.users:
            rows = x.reshape(-1, x.shape[-1]).contiguous()  # kernels read by address
            if len(rows) != step.num_tokens:  # such as an expert's share of the tokens
                raise EngineError(f"adapters cannot act on {self._site.paths[0]}: it does not see every token")
            self._state.parts.kernels.lora(rows, out.view(-1, out.shape[-1]), self._site, step)
        return out


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over slots, as transformers calls it: query [1, heads, tokens, dim] -> [1, tokens, heads, dim]."""
    state: _State = module.slot_state
    assert state.step is not None
    layer = state.parts.cache.layers[module.layer_idx]
    odd = sorted(name for name in _MEANINGFUL if kwargs.get(name) is not None)
    if (kwargs.get("sliding_window") or layer.context) < layer.context:
        odd.append("sliding_window")
    if odd or attention_mask is not None:
        raise EngineError(f"this model's attention needs {', '.join(odd) or 'a mask'}, which the engine does not have")
    dim = query.shape[-1]
    if value.shape != key.shape or (key.shape[1], dim) != (layer.keys.shape[1], layer.keys.shape[3]):
        raise EngineError("the heads of this model's layers are not those its configuration names; it cannot be served")
    state.num_attended += 1
    heads = Heads(query.shape[1], key.shape[1], dim, scaling if scaling is not None else dim**-0.5)
    qkv = torch.cat((query, key, value), dim=1)[0].transpose(0, 1).flatten(1).contiguous()
    mixed = state.parts.kernels.attend(qkv, None, layer, state.step, heads)
    return mixed.view(1, -1, heads.query, dim), None


class _PassThroughLayer(CacheLayerMixin):  # type: ignore[misc]
    """Hands the new keys and values on."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to allocate."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What came in."""
        return key_states, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """No mask is built from it."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Not meaningful for rows of different length; positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


class _PassThrough(Cache):  # type: ignore[misc]
    def __init__(self, num_layers: int) -> None:
        super().__init__(layers=[_PassThroughLayer() for _ in range(num_layers)])
