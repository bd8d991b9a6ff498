"""Real processes, really killed: what was acknowledged is with the ledger afterwards, exactly once."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from serve_app.ledger.journal import adopt
from tests.unit.ledger.scripted import ScriptedLedger

ROUNDS = 25


def test_what_a_killed_gateway_acknowledged_is_adopted_exactly_once(tmp_path: Path, repo: Path):
    writer = Path(__file__).with_name("journal_writer.py")
    done = subprocess.run(
        [sys.executable, str(writer), str(tmp_path), str(ROUNDS), "7"],
        cwd=repo,
        env={"PYTHONPATH": str(repo), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    steps = [step.split() for line in done.stdout.splitlines() for step in json.loads(line)]
    begun, ended, settled = ({query_id for kind, query_id in steps if kind == wanted} for wanted in "bes")
    assert len(ended) > ROUNDS

    ledger = ScriptedLedger()
    adopted = asyncio.run(adopt(tmp_path, ledger, batch=50))
    assert len(adopted.folders) == ROUNDS
    outcomes = {query_id: account.outcome for query_id, account in ledger.stored.items()}
    # What a gateway had handed over itself may or may not come again; everything else must come, and only as it was.
    assert ended - settled <= {query_id for query_id, outcome in outcomes.items() if outcome == "accepted"}
    assert begun - settled <= set(outcomes)
    assert not {query_id for query_id in ended if outcomes.get(query_id) == "lost"}
    assert adopted.num_answers + adopted.num_lost == len(outcomes), "each query once"
    assert ledger.num_repeated == 0
    assert adopted.num_lost <= 3 * ROUNDS, "three at a time"
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".damaged")] == [".lock"]
