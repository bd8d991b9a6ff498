"""Replicas are killed while clients ask: every answer that a client saw has one account, at what it was told."""

import asyncio
from pathlib import Path

import pytest

from bench.chaos.graph import running, write_settings
from bench.chaos.plan import Chaos
from bench.chaos.reconcile import is_exact, read_totals, reconcile

pytestmark = pytest.mark.cluster


def test_books_agree_though_a_gateway_and_the_ledger_are_killed_under_load(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with running(write_settings(tmp_path, url, num_gateways=2), tmp_path / "stderr.log") as graph:
        chaos = Chaos(graph, url, num_clients=6, calm_s=1.0)
        seen, rows = asyncio.run(chaos.run("Gateway", "Ledger"))
        report = reconcile(seen, rows)
        totals = asyncio.run(read_totals(url))
    assert is_exact(report), report
    assert report["answered"] > 0
    assert totals["queries"] == sum(row.shadow_of is None for row in rows)
    assert not list((tmp_path / "journals").glob("*.damaged"))
