"""Journals on nodes that run neither gateway nor ledger are adopted there, by drainers that go again afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent


def test_every_node_is_drained_in_time_and_no_drainer_outlives_its_work_or_the_graph(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "draining_run.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=420)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["beside a gateway"] == {"q1": None, "drainers": 0}
    assert told["b lost its gateway"] == {"q1": "lost", "q2": None, "drainers": 0}
    assert told["c is lost"] == {"q2": None}
    assert told["c came back"] == {"q2": "lost", "q3": None, "drainers": 0}
    assert told["the ledger was killed"] == {"drainers": "of e alone"}
    assert told["the graph was deleted"] == {"drainers": 0}
