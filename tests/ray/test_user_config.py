"""A changed `user_config` takes effect in running replicas, with no query lost: a threshold, then a fitted policy."""

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import settings_file
from launching import free_port

from serve_app.confidence.policy import write
from tests.unit.confidence.synthetic import policy, route_policy

HERE = Path(__file__).parent


def test_thresholds_and_policies_change_under_load(tmp_path: Path, repo: Path) -> None:
    engine = {"engine": "headrace_scripted:engine", "max_rows": 8}
    gateway = {"port": free_port()}
    config = settings_file(tmp_path, specialists=engine, fallback=engine, gateway=gateway)
    write(policy(route_policy(route=None, adapter_version=None)), tmp_path / "policy.json")
    path = os.pathsep.join([str(HERE / "scripted"), os.environ.get("PYTHONPATH", "")])
    notes = tmp_path / "notes.txt"
    script = [sys.executable, str(HERE / "user_config_run.py"), str(repo / "graphs" / "cascade.yaml")]
    done = subprocess.run(
        [*script, str(config), str(tmp_path / "policy.json")],
        env=os.environ | {"PYTHONPATH": path, "HEADRACE_NOTES": str(notes)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["failed"] == []
    assert found["asked"] > 10
    assert found["same_replicas"]
