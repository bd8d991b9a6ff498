"""Run as a program: two replicas of a scripted specialist; versions come, are promoted, rolled back and removed in the
registry while calls run that name a version each, as a gateway does that hears of changes every half a second.

python adapters_run.py SETTINGS_YAML WORK_DIR

Prints one JSON object: calls `answered`, `failed` (their errors), `misversioned`; `versions` that answered; seconds
from each change until both replicas showed it, `converged_s`; the report of a trial; what a replica says that started
while the ledger was away is not in it (tests/unit/engines/test_following.py).
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from serve_app.adapters.registry.records import AdapterVersion, RegistrySnapshot
from serve_app.config import load
from serve_app.core import Call, HeadraceError, Message, SamplingParams
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine
from tests.unit.adapters.conftest import lora_tensors

ASKERS = 12
PROBES = 16
"""Replicas are asked so often at a time: both are among those that answer."""
WITHIN_S = 60.0


class Load:
    """Asks without a pause for versions that a gateway knows, which hears of changes every half a second."""

    def __init__(self, engine: Any, registry: Any) -> None:
        self._engine, self._registry = engine, registry
        self._snapshot = RegistrySnapshot()
        self._done = asyncio.Event()
        self.answered, self.misversioned = 0, 0
        self.failed: list[str] = []
        self.versions: set[str] = set()

    async def follow(self) -> None:
        while not self._done.is_set():
            self._snapshot = await self._registry.adapters_snapshot()
            await asyncio.sleep(0.5)

    async def ask(self, number: int) -> None:
        serial = 0
        while not self._done.is_set():
            serial += 1
            known = [(one.name, each.version) for one in self._snapshot.adapters for each in one.versions]
            if not known:
                await asyncio.sleep(0.01)
                continue
            name, version = known[(number + serial) % len(known)]
            call = replace(asked(f"{number}-{serial}", "slow"), adapter=name, adapter_version=version)
            try:
                deltas = [delta async for delta in self._engine.generate(call)]
            except HeadraceError as error:
                self.failed.append(f"{name}@{version}: {type(error).__name__}: {error}")
                continue
            self.answered += 1
            self.versions.add(version)
            self.misversioned += {delta.adapter_version for delta in deltas} != {version}

    async def reaches(self, version: str) -> None:
        """Wait until one of its calls was answered."""
        began_s = time.monotonic()
        while version not in self.versions:
            if time.monotonic() - began_s > WITHIN_S:
                raise SystemExit(f"{version} answered nothing within {WITHIN_S:g} s; failed: {self.failed[:3]}")
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._done.set()


def asked(call_id: str, text: str) -> Call:
    return Call(call_id, SamplingParams(max_tokens=30), (Message("user", text),))


def folder_of(folder: Path, number: int) -> Path:
    """An adapter whose version depends on the number."""
    folder = folder / f"adapter-{number}"
    folder.mkdir(parents=True)
    record = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(record | {"base_model_name_or_path": "tiny"}))
    (folder / "headrace.json").write_text(json.dumps({"description": f"number {number}"}))
    save_file(lora_tensors(), folder / "adapter_model.safetensors")
    return folder


async def run(settings: Any, work: Path) -> dict[str, Any]:
    from ray import serve
    from ray.serve.context import _get_global_client

    from serve_app.adapters.registry.artefacts import open_artefacts
    from serve_app.deployments.handles import EngineHandle, LedgerHandle
    from serve_app.deployments.paths import with_artefacts

    engine = EngineHandle(serve.get_deployment_handle("Specialists", "headrace"), "specialists")
    registry = LedgerHandle(serve.get_deployment_handle("Ledger", "headrace"))
    artefacts = open_artefacts(with_artefacts(settings).registry, {})
    load = Load(engine, registry)
    tasks = [asyncio.create_task(one) for one in (load.follow(), *(load.ask(number) for number in range(ASKERS)))]
    converged_s: list[float] = []

    async def versions_of(name: str) -> set[str | None]:
        infos = await asyncio.gather(*(engine.info() for _ in range(PROBES)))
        return {info.adapters.get(name) for info in infos}

    async def shows(name: str, version: str | None) -> None:
        """Wait until every replica has it as the live one."""
        began_s = time.monotonic()
        while await versions_of(name) != {version}:
            if time.monotonic() - began_s > WITHIN_S:
                raise SystemExit(f"{name}@{version} did not come within {WITHIN_S:g} s; failed: {load.failed[:3]}")
            await asyncio.sleep(0.02)
        converged_s.append(time.monotonic() - began_s)

    async def added(name: str, number: int) -> str:
        digest = await artefacts.put(folder_of(work, number))
        version = AdapterVersion(
            name, digest[:12], digest, "staged", "test", 2, 1000, True, time.time(), "ada", base_override=True
        )
        await registry.adapters_add(version)
        return version.version

    for round_ in range(3):
        first, second = [await added("law", 10 * round_ + number) for number in range(2)]
        await registry.adapters_promote("law", first, "ada")
        await shows("law", first)
        await registry.adapters_canary("law", second, 0.5, "ada")
        await load.reaches(second)
        await registry.adapters_promote("law", None, "ada")
        await shows("law", second)
        await registry.adapters_rollback("law", "ada")
        await shows("law", first)
        await registry.adapters_remove("law", "ada")
        await shows("law", None)
    last = await artefacts.put(folder_of(work, 99))
    trial = await engine.trial(last)
    load.stop()
    await asyncio.gather(*tasks)
    await _get_global_client().shutdown_cached_handles_async()  # they belong to this event loop
    found = {"answered": load.answered, "failed": load.failed, "misversioned": load.misversioned}
    return found | {"versions": len(load.versions), "converged_s": converged_s, "trial": trial}


def main() -> None:
    settings, work = load(sys.argv[1]), Path(sys.argv[2])
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ |= one_machine(run_dir)
    from graphs.multi_lora import build
    from serve_app.deployments.stack import Stack

    stack = Stack(settings, run_dir, settings.gateway.port)
    stack.start_ray()
    try:
        stack.deploy(build(settings), "multi_lora", Reporter(as_json=True))
        print(json.dumps(asyncio.run(run(settings, work))))
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)


if __name__ == "__main__":
    main()
