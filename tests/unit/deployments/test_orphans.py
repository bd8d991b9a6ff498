"""Whoever lives on a node hands over what its dead gateways owed."""

from pathlib import Path

from serve_app.core import Opening
from serve_app.deployments.orphans import Orphans
from serve_app.ledger.journal import Journal
from tests.unit.ledger.scripted import crash
from tests.unit.memory_ledger import MemoryLedger


async def test_a_dead_gateway_is_adopted_its_budget_reclaimed_and_its_open_queries_told_as_lost(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "g1", segment_mb=0.05)
    journal.begin(Opening("q1", 1.0, "auto"))
    crash(journal)
    ledger, reclaimed, lost = MemoryLedger(), [], []

    async def reclaim(gateway: str) -> int:
        assert list(ledger.answers) == ["q1"]  # first the accounts: the budget is charged with what they cost
        reclaimed.append(gateway)
        return 1

    orphans = Orphans(tmp_path, ledger, reclaim, lost.append)
    await orphans.adopt()
    await orphans.adopt()
    assert (reclaimed, lost) == (["g1"], [1, 0])
    assert ledger.answers["q1"].outcome == "lost"
