"""Two gateways, one place that decides: a canary that fails is withdrawn, one that is as good is promoted."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import settings_file
from launching import free_port, printed_by

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
RULE = {
    "share": 1.0,
    "scorer": "exact",
    "margin": 0.5,
    "min_pairs": 15,
    "max_latency_factor": 50.0,
    "max_concurrent": 8,
}


def run(folder: Path, repo: Path) -> dict[str, Any]:
    """What canary_run.py prints."""
    replicas = {
        "gateway": {"min_replicas": 2, "max_replicas": 2, "num_cpus": 0.1},
        "specialists": {"num_cpus": 0.1},
        "fallback": {"num_cpus": 0.1},
    }
    engine = {"engine": "headrace_scripted:engine", "max_rows": 64}
    config = settings_file(
        folder, specialists=engine, fallback=engine, gateway={"port": free_port()}, deployments=replicas, canary=RULE
    )
    return printed_by(HERE / "canary_run.py", config, folder, repo, 400)


def test_a_canary_that_fails_is_withdrawn_and_one_that_is_as_good_promoted(tmp_path: Path, repo: Path) -> None:
    found = run(tmp_path, repo)
    print(json.dumps(found))
    versions, first, second = found["versions"], found["first"], found["second"]
    assert (first["canary"], first["live"], first["ended_by"]) == (versions["bad"], versions["live"], "rollback")
    assert (second["canary"], second["live"], second["ended_by"]) == (versions["good"], versions["live"], "promote")
    assert [line[:2] for line in found["audit"]] == [["promote", versions["good"]], ["rollback", versions["bad"]]]
    assert found["audit"][1][2].startswith("share of failures +")
    assert second["verdict"]["findings"][0]["num_pairs"] >= 15
