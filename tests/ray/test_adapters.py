"""Two replicas follow the registry: versions come and go under load, with no call failed or misversioned."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import settings_file
from launching import free_port, printed_by

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent


def run(folder: Path, repo: Path) -> dict[str, Any]:
    """What adapters_run.py prints."""
    replicas = {"specialists": {"min_replicas": 2, "max_replicas": 2, "num_cpus": 0.1}}
    engine = {"engine": "headrace_scripted:engine", "max_rows": 64}
    config = settings_file(folder, specialists=engine, gateway={"port": free_port()}, deployments=replicas)
    return printed_by(HERE / "adapters_run.py", config, folder, repo, 240)


def test_versions_come_and_go_under_load_and_each_answer_is_of_the_version_asked_for(
    tmp_path: Path, repo: Path
) -> None:
    found = run(tmp_path, repo)
    print(json.dumps(found))
    assert found["failed"] == [] and found["misversioned"] == 0
    assert found["answered"] > 50 and found["versions"] >= 6
    assert len(found["converged_s"]) == 12
    assert found["trial"]["text"].startswith("this is ") and found["trial"]["finite"]
