"""The registry of a running graph: settings come in, changes are answered, and a killed ledger keeps them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import settings_file
from launching import launch

from serve_app.adapters import content_digest, shipped

pytestmark = pytest.mark.cluster

CLIENT = Path(__file__).parent / "registry_client.py"


def test_a_killed_ledger_comes_back_with_the_same_registry(tmp_path: Path) -> None:
    fake = {"engine": "fake"}
    config = settings_file(tmp_path, specialists=fake, fallback=fake)
    folder = tmp_path / "tiny"
    shutil.copytree(shipped("legal"), folder)
    (folder / "headrace.json").write_text("{}")
    served = launch("multi_lora", config, tmp_path / "stderr.log")
    try:
        store = str(tmp_path / "ledger.sqlite3.adapters")
        done = subprocess.run(
            [sys.executable, str(CLIENT), served.ray_address, str(folder), store, str(served.process.pid)],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    finally:
        served.stop()
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    names = yaml.safe_load(config.read_text())["adapters"]
    assert {one["name"]: one["live"] for one in found["seeded"]["adapters"]} == {
        name: content_digest(shipped(name))[:12] for name in names
    }
    assert found["killed"] == 1
    assert found["same"]
    assert found["live"]["tiny"] == found["version"] == content_digest(folder)[:12]
    assert found["audit"] == [["ada", "promote", "tiny"], ["ada", "add", "tiny"]]
    assert all(found["settings_adapters_published"])
