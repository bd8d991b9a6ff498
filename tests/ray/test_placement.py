"""GPU fractions land as the cluster profile says, on pretend GPUs."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from launching import free_port


def test_two_half_gpu_specialists_share_a_gpu_and_the_fallback_has_one_for_itself(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parent / "placement.py"), str(tmp_path / "ledger.sqlite3")]
    environment = os.environ | {"PORT": str(free_port())}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=tmp_path, env=environment)
    rows = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    assert rows, done.stdout + done.stderr
    nodes, gpus = defaultdict(list), defaultdict(float)
    for replica in json.loads(rows[0]):
        nodes[replica["deployment"]].append(replica["node"])
        gpus[replica["node"]] += replica["num_gpus"]
        assert not (replica["num_gpus"] and replica["head"])
    assert len(nodes["Specialists"]) == 2
    assert len(set(nodes["Specialists"])) == 1
    assert len(nodes["Fallback"]) == 1
    assert nodes["Fallback"][0] not in nodes["Specialists"]
    assert max(gpus.values()) == 1
