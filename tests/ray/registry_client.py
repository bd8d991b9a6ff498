"""Run as a program: changes the registry of a running graph, kills its ledger, and looks again. Prints one JSON object.

python registry_client.py RAY_ADDRESS FOLDER_OF_AN_ADAPTER STORE PID_OF_THE_LAUNCHER
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from serve_app.adapters.registry import RegistrySnapshot
from serve_app.adapters.registry.artefacts import ArtefactStore
from serve_app.adapters.registry.cache import AdapterCache
from serve_app.adapters.registry.verifying import ArtefactLimits, verify_artefact
from serve_app.core import LedgerError
from serve_app.deployments.switches import every_node

if TYPE_CHECKING:
    from serve_app.deployments.handles import LedgerHandle  # imports Ray, which reads the environment that `main` sets

WITHIN_S = 90.0


async def change_kill_and_look(folder: Path, store: str) -> dict[str, Any]:
    from ray import serve

    from serve_app.deployments.handles import LedgerHandle

    ledger = LedgerHandle(serve.get_deployment_handle("Ledger", "headrace"))
    seeded = await answered(ledger)
    checked = verify_artefact(folder, "tiny", None, ArtefactLimits(2**30, 64), str(folder), "ada")
    artefacts = ArtefactStore(store, AdapterCache(folder / "cache", 2**30), 2**30)
    digest = await artefacts.put(folder)
    staged = await ledger.adapters_add(replace(checked, state="staged"))
    before = await ledger.adapters_promote("tiny", staged.version, "ada")
    killed = [process for process in psutil.process_iter(["cmdline"]) if is_ledger(process)]
    for process in killed:
        process.kill()
    gone, _ = psutil.wait_procs(killed, timeout=30)
    after = await answered(ledger)
    audit = await ledger.adapters_audit(2)
    return {
        "seeded": asdict(seeded),
        "killed": len(gone),
        "same": before == after,
        "live": {one.name: one.live for one in after.adapters},
        "version": digest[:12],
        "audit": [[line.actor, line.action, line.name] for line in audit],
        "settings_adapters_published": [
            await artefacts.holds(served.digest) for one in seeded.adapters for served in one.versions
        ],
    }


async def answered(ledger: "LedgerHandle") -> RegistrySnapshot:
    """The snapshot, from whichever replica is up."""
    give_up_s = time.monotonic() + WITHIN_S
    while True:
        try:
            return await ledger.adapters_snapshot()
        except LedgerError:
            if time.monotonic() > give_up_s:
                raise
            await asyncio.sleep(0.2)


def is_ledger(process: psutil.Process) -> bool:
    """Whether it is the ledger's replica of this very graph: others may run on this machine."""
    command = " ".join(process.info["cmdline"] or ())
    return "ServeReplica:headrace:Ledger" in command and int(sys.argv[4]) in [one.pid for one in process.parents()]


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    print(json.dumps(asyncio.run(change_kill_and_look(Path(sys.argv[2]), sys.argv[3]))))
    ray.shutdown()


if __name__ == "__main__":
    main()
