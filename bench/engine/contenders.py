"""The ways to decode a batch. Each `rate_*` gives decode tokens per second, all rows having their first token."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from bench.engine.material import Material, names
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import cache_dir
from serve_app.engine.assembly import Assembly, assemble, make_loop
from serve_app.engine.load import read_pairs
from serve_app.engine.loop import EngineLoop
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Discard, Request


@dataclass
class Headrace:
    """The true loop of this engine, stepped here in place of its thread."""

    assembly: Assembly
    loop: EngineLoop
    serial: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def make(cls, material: Material, max_rows: int, **options: Any) -> Headrace:
        """With all of the material's adapters resident.

        It has twice the rows that are used: of its last quarter no adapter gets one once it holds half of all
        (engine/admission.py), and a batch of one adapter would wait for others.
        """
        name = str(material.dtype).removeprefix("torch.")
        fields = {"max_context_tokens": 256, "step_tokens": 8192, "prefix_slots": 0, "max_adapter_rank": 16, **options}
        assembly = assemble(
            material.path,
            EngineOptions(dtype=name, max_rows=2 * max_rows, max_waiting=0, **fields),
            cache_dir() / "kernels",
        )
        assembly.runner.warm_up()
        by_version = {adapter.version: adapter for adapter in material.adapters}

        def write(slot: int, version: str) -> None:
            assembly.bank.write(slot, read_pairs(by_version[version], assembly.target))
            loop.adapter_loaded(slot, version)

        loop = make_loop(assembly, write, (), nullcontext)
        for version in by_version:
            loop.add_adapter(version)
            loop.preload_adapter(version)
        return cls(assembly, loop)

    def rate(self, versions: Sequence[str | None], prompts: Sequence[Sequence[int]], steps: int) -> float:
        """Prefill in one step, one decode step that is not timed, then `steps` that are.

        Raises RuntimeError where a step that is timed has not all the rows, which would overstate the rate.
        """
        self.loop.submit(
            *(
                Request(f"{next(self.serial)}", tuple(prompt), steps + 3, Discard(), version)
                for version, prompt in zip(versions, prompts, strict=True)
            )
        )
        self.loop.step()
        self.loop.step()
        self._expect_rows(len(prompts))
        start_s = time.perf_counter()
        for _ in range(steps):
            self.loop.step()
        taken_s = time.perf_counter() - start_s
        self._expect_rows(len(prompts))
        self.loop.step()
        self._expect_rows(0)
        return len(prompts) * steps / taken_s

    def _expect_rows(self, num_rows: int) -> None:
        load = self.loop.load()
        if (load.active_rows, load.waiting_requests) != (num_rows, 0):
            raise RuntimeError(f"{load.active_rows} rows and {load.waiting_requests} waiting requests, not {num_rows}")


def transformers_rate(model: Any, prompts: Sequence[Sequence[int]], steps: int, **extra: Any) -> float:
    """Greedy decoding by `model.forward` with its own growing cache."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    # transformers has renamed the argument
    cache = "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"
    with torch.inference_mode():
        output = model(input_ids=torch.tensor(prompts), use_cache=True, logits_to_keep=1, **extra)
        start_s = 0.0
        for step in range(steps + 1):
            if step == 1:  # the first step is not timed
                start_s = time.perf_counter()
            output = model(
                input_ids=output.logits[:, -1].argmax(-1, keepdim=True),
                use_cache=True,
                **{cache: getattr(output, cache)},
                **extra,
            )
    return len(prompts) * steps / (time.perf_counter() - start_s)


@dataclass
class Peft:
    """PEFT at its best: adapters in the model's dtype and not, as by default, in float32."""

    model: Any

    @classmethod
    def make(cls, material: Material) -> Peft:
        """With all of the material's adapters loaded."""
        base = load_plain(material.path, material.dtype)
        first, *others = material.adapters
        model = PeftModel.from_pretrained(base, first.path, first.name, autocast_adapter_dtype=False).eval()
        for adapter in others:
            model.load_adapter(adapter.path, adapter_name=adapter.name, autocast_adapter_dtype=False)
        return cls(model)

    def mixed_rate(self, adapters: Sequence[AdapterSpec], prompts: Sequence[Sequence[int]], steps: int) -> float:
        """One adapter per row, all rows in one forward."""
        return transformers_rate(self.model, prompts, steps, adapter_names=names(adapters))

    def one_at_a_time_rate(
        self, adapters: Sequence[AdapterSpec], prompts: Sequence[Sequence[int]], steps: int
    ) -> float:
        """`set_adapter`, then one query alone; prompts are not timed, switching is."""
        taken_s = 0.0
        for adapter, prompt in zip(adapters, prompts, strict=True):
            start_s = time.perf_counter()
            self.model.set_adapter(adapter.name)
            taken_s += time.perf_counter() - start_s + steps / transformers_rate(self.model, [prompt], steps)
        return len(prompts) * steps / taken_s


def load_plain(path: Path, dtype: torch.dtype) -> Any:
    """The model as transformers gives it."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="sdpa").eval()


Way = Callable[[int], float]
"""Rate of one contender; the argument is a seed for the prompts."""
