"""The adapter registry as a gateway sees it, over a real database; an artefact store and a trial that can fail."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from serve_app.adapters.folder import content_digest
from serve_app.adapters.registry import AdapterRegistry
from serve_app.canary import CanaryTrials
from serve_app.core import AdapterError, LedgerError


class RegistryNode:
    """`adapters_…` as the ledger's handle has them; `broken` as if the ledger were away."""

    def __init__(self, registry: AdapterRegistry, trials: CanaryTrials | None = None) -> None:
        self._registry, self._trials = registry, trials
        self.broken = False

    async def adapters_canary_report(self, name: str) -> dict[str, Any]:
        return {} if self._trials is None else await self._trials.report(name)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if not name.startswith("adapters_"):
            raise AttributeError(name)
        work = getattr(self._registry, name if name == "adapters_since" else name.removeprefix("adapters_"))

        async def ask(*args: Any, **more: Any) -> Any:
            if self.broken:
                raise LedgerError("The ledger is away.")
            return await work(*args, **more)

        return ask


class FakeArtefacts:
    """Remembers what was put; `away` as if the storage were."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.away = False

    async def put(self, folder: Path) -> str:
        if self.away:
            raise AdapterError("memory://store cannot be reached.")
        digest = content_digest(folder)
        self.held.add(digest)
        return digest

    async def holds(self, digest: str) -> bool:
        if self.away:
            raise AdapterError("memory://store cannot be reached.")
        return digest in self.held

    async def delete(self, digest: str) -> bool:
        self.held.discard(digest)
        return True


class FakeTrial:
    """Passes every adapter, once `gate` is open, unless there is an `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.report: dict[str, Any] = {"base_verified": True, "text": "fine", "finite": True, "error": None}
        self.tried: list[str] = []
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def trial(self, digest: str, base_override: bool) -> dict[str, Any]:
        self.tried.append(digest)
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.report


def write_adapter(folder: Path, seed: int = 0, **config: Any) -> Path:
    """A tiny adapter; another seed is another version."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{prefix}.lora_A.weight": rng.normal(size=(2, 8)).astype("float32"),
        f"{prefix}.lora_B.weight": rng.normal(size=(8, 2)).astype("float32"),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "x",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings | config))
    return folder
