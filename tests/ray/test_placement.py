"""GPU fractions land as the cluster profile says, on pretend GPUs."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from launching import free_port


def placed(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What placement.py prints."""
    program = Path(__file__).parent / "placement.py"
    command = [sys.executable, str(program), str(folder / "ledger.sqlite3"), *arguments]
    environment = os.environ | {"PORT": str(free_port())}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment)
    rows = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    assert rows, done.stdout + done.stderr
    return list(json.loads(rows[0]))


def test_two_half_gpu_specialists_share_a_gpu_and_the_fallback_has_one_for_itself(tmp_path: Path) -> None:
    nodes, gpus = defaultdict(list), defaultdict(float)
    for replica in placed(tmp_path):
        nodes[replica["deployment"]].append(replica["node"])
        gpus[replica["node"]] += replica["num_gpus"]
        assert not (replica["num_gpus"] and replica["head"])
    assert len(nodes["Specialists"]) == 2
    assert len(set(nodes["Specialists"])) == 1
    assert len(nodes["Fallback"]) == 1
    assert nodes["Fallback"][0] not in nodes["Specialists"]
    assert max(gpus.values()) == 1


def test_on_the_nodes_of_the_cluster_file_each_role_keeps_to_its_pool_and_gateways_to_a_node_each(
    tmp_path: Path,
) -> None:
    replicas = placed(tmp_path, "pools")
    pools = {(replica["deployment"], replica["pool"]) for replica in replicas}
    wanted = {"Gateway": "cpu", "Ledger": "cpu", "Specialists": "specialists", "Fallback": "fallback"}
    assert pools == set(wanted.items())
    gateways = [replica["node"] for replica in replicas if replica["deployment"] == "Gateway"]
    assert len(gateways) == len(set(gateways)) == 2
