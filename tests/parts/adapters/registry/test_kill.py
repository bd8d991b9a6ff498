"""Killed at any point, the registry is what its audit log says."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

import pytest

from serve_app.adapters.registry import AdapterRegistry
from serve_app.store import Store

CHANGING = Path(__file__).with_name("changing.py")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_killed_ledger_leaves_whole_changes(kind, request, tmp_path, repo):
    url = str(tmp_path / "r.sqlite3") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    revision = 0
    for seed in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, CHANGING, url, str(seed), cwd=repo, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        store = Store(url)
        await store.open()
        registry = AdapterRegistry(store)
        while process.returncode is None and (await registry.snapshot()).revision < revision + 30:
            pass
        process.kill()
        await process.wait()
        revision = await check(registry)
        await store.close()
    assert revision >= 90


async def check(registry: AdapterRegistry) -> int:
    """One line for each revision, one live and one canary a name at most, and every version that was added."""
    snapshot, lines, versions = await registry.snapshot(), await registry.audit(1000), await registry.all()
    assert [line.revision for line in lines] == list(range(snapshot.revision, max(0, snapshot.revision - 1000), -1))
    for state in ("live", "canary"):
        assert max(Counter(one.name for one in versions if one.state == state).values(), default=0) <= 1
    added = {(line.name, line.version) for line in lines if line.action == "add"}
    assert added <= {(one.name, one.version) for one in versions}
    for adapter in snapshot.adapters:
        of_name = [line for line in lines if line.name == adapter.name and line.action in ("promote", "remove")]
        if of_name and of_name[0].action == "remove":
            assert adapter.live is None
    return snapshot.revision
