"""Run as a program: the scripted cascade with two gateways; one canary fails, the next one is as good as the live one.

python canary_run.py SETTINGS_YAML WORK_DIR

Clients ask for the adapter without a pause. Prints one JSON object: for each canary the seconds until the rule had
decided, by the trial's report; the audit log's lines of actor `canary`; and the outcomes of the clients' queries.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from adapters_run import folder_of

from serve_app.adapters.registry.records import AdapterVersion
from serve_app.config import load
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine

ASKERS = 4
WITHIN_S = 90.0
PROBES = 16
"""Gateways are asked so often in a row: both are among those that answer."""


class Clients:
    """Ask for the adapter `law`; a query names the version that shall fail."""

    def __init__(self, url: str) -> None:
        self._url, self._done, self._serial = url, False, 0
        self.failing = "none"
        self.outcomes: Counter[str] = Counter()

    async def ask(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as http:
            while not self._done:
                self._serial += 1
                content = f"refuses {self.failing} {self._serial}"
                body = {"model": "law", "messages": [{"role": "user", "content": content}]}
                answer = await http.post("/v1/chat/completions", json=body)
                self.outcomes[str(answer.status_code)] += 1

    def stop(self) -> None:
        self._done = True


def adapter_at(url: str) -> dict[str, Any] | None:
    """What one gateway knows of `law`."""
    status = httpx.get(f"{url}/v1/status", timeout=60).json()
    found: dict[str, Any] | None = next((one for one in status["adapters"] if one["name"] == "law"), None)
    return found


async def run(settings: Any, work: Path, url: str) -> dict[str, Any]:
    from ray import serve
    from ray.serve.context import _get_global_client

    from serve_app.adapters.registry.artefacts import open_artefacts
    from serve_app.deployments.handles import LedgerHandle
    from serve_app.deployments.paths import with_artefacts

    registry = LedgerHandle(serve.get_deployment_handle("Ledger", "headrace"))
    artefacts = open_artefacts(with_artefacts(settings).registry, {})
    clients = Clients(url)

    async def added(number: int) -> str:
        digest = await artefacts.put(folder_of(work, number))
        version = AdapterVersion(
            "law", digest[:12], digest, "staged", "test", 2, 1000, True, time.time(), "ada", base_override=True
        )
        return (await registry.adapters_add(version)).version

    async def decided() -> tuple[float, dict[str, Any]]:
        began_s = time.monotonic()
        while time.monotonic() - began_s < WITHIN_S:
            report = await registry.adapters_canary_report("law")
            if report["earlier"] and report["running"] is None:
                return time.monotonic() - began_s, report["earlier"][0]
            await asyncio.sleep(0.2)
        raise SystemExit(f"undecided after {WITHIN_S:g} s: {json.dumps(report)}")

    async def heard(canary: str | None) -> None:
        """Wait until every gateway says so: the proxy takes turns over new connections."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < WITHIN_S:
            said = [await asyncio.to_thread(adapter_at, url) for _ in range(PROBES)]
            if all(one and (one["version"], one["canary"]) == (live, canary) for one in said):
                return
        raise SystemExit(f"not heard of everywhere within {WITHIN_S:g} s: {json.dumps(said)}")

    live, bad, good = [await added(number) for number in range(3)]
    await registry.adapters_promote("law", live, "ada")
    await heard(None)
    tasks = [asyncio.create_task(clients.ask()) for _ in range(ASKERS)]
    clients.failing = bad
    await registry.adapters_canary("law", bad, 0.5, "ada")
    first = await decided()
    await heard(None)
    clients.failing = "none"
    await registry.adapters_canary("law", good, 0.5, "ada")
    while (await registry.adapters_canary_report("law"))["running"] is None:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0.1)
    second = await decided()
    clients.stop()
    await asyncio.gather(*tasks)
    lines = await registry.adapters_audit(50)
    await _get_global_client().shutdown_cached_handles_async()  # they belong to this event loop
    return {
        "versions": {"live": live, "bad": bad, "good": good},
        "first": {"after_s": first[0], **first[1]},
        "second": {"after_s": second[0], **second[1]},
        "audit": [[one.action, one.version, one.detail] for one in lines if one.actor == "canary"],
        "outcomes": clients.outcomes,
    }


def main() -> None:
    settings, work = load(sys.argv[1]), Path(sys.argv[2])
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ |= one_machine(run_dir)
    from graphs.cascade import build
    from serve_app.deployments.stack import Stack

    stack = Stack(settings, run_dir, settings.gateway.port)
    stack.start_ray()
    try:
        stack.deploy(build(settings), "cascade", Reporter(as_json=True))
        print(json.dumps(asyncio.run(run(settings, work, stack.url))))
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)


if __name__ == "__main__":
    main()
