"""The launcher: starts beside another Ray, says what is wrong before Ray starts, and ends cleanly."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from asking import eventually, ready
from conftest import settings_file
from launching import COMMAND, Served, launch

START_ENDS_S = 120
"""Of a launcher that is told to end while it starts Ray; some seconds where cores are free."""


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from serve_app.cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_serve_and_ray_and_leaves_another_ray_alone(tmp_path: Path, scripted: Served) -> None:
    fake = {"engine": "fake"}
    config = settings_file(tmp_path, specialists=fake, fallback=fake)
    served = launch("multi_lora", config, tmp_path / "stderr.log", RAY_ADDRESS=scripted.ray_address)
    processes, folder = served.processes(), Path(served.events[0]["logs"])
    assert len(processes) > 8
    assert served.ray_address != scripted.ray_address
    served.stop()
    assert served.process.returncode == 0
    eventually(lambda: not any(map(lives, processes)))
    assert not folder.parent.exists()
    ready(scripted)


def test_a_signal_to_the_whole_group_of_the_command_ends_ray_in_order(tmp_path: Path) -> None:
    """What `timeout` and service managers send; Ray's own processes must not get it before the launcher stops them."""
    config = settings_file(tmp_path, specialists={"engine": "fake"}, fallback={"engine": "fake"})
    served = launch("multi_lora", config, tmp_path / "stderr.log", COMMAND)
    processes, folder = served.processes(), Path(served.events[0]["logs"]).parent
    assert folder.stat().st_mode & 0o077 == 0, "others could replace the script that Ray runs from there"
    served.stop(signal.SIGTERM)
    assert served.process.returncode == 0
    eventually(lambda: not any(map(lives, processes)))
    assert not folder.exists()


def test_sigterm_during_the_start_ends_it_cleanly(tmp_path: Path) -> None:
    config = settings_file(tmp_path, specialists={"engine": "fake"}, fallback={"engine": "fake"})
    arguments = ["--graph", "multi_lora", "--config", str(config), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "serve_app.deployments.launch", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert "starting" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_ENDS_S) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cascade": {"threshold": 1.5}}, "`cascade.threshold`: Input should be less than or equal to 1, got 1.5"),
        ({"gateway": {"prot": 1}}, "unknown key `gateway.prot`"),
    ],
)
def test_a_wrong_setting_is_one_sentence_before_anything_starts(
    tmp_path: Path, change: dict[str, dict[str, object]], sentence: str
) -> None:
    done = headrace("serve", "--config", str(settings_file(tmp_path, **change)))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_taken_port_is_one_sentence(scripted: Served, tmp_path: Path) -> None:
    port = str(httpx.URL(scripted.url).port)
    done = headrace("serve", "--config", str(settings_file(tmp_path)), "--port", port)
    assert done.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in done.stderr


SCALED: dict[str, dict[str, object]] = {
    "scaling": {"policy": "headrace", "specialists": {"engine": {"tokens_per_s": 100}}},
    "deployments": {"specialists": {"num_cpus": 0.5, "max_replicas": 2}},
}
"""With these Serve is handed a config, and builds the graph in a process of its own."""


@pytest.mark.parametrize("changes", [{}, SCALED], ids=["run", "config"])
def test_a_replica_that_cannot_start_is_one_sentence(tmp_path: Path, changes: dict[str, dict[str, object]]) -> None:
    missing = {"model": str(tmp_path), "engine": "local"}
    config = settings_file(tmp_path, specialists=missing, prices={"models": _prices(str(tmp_path))}, **changes)
    arguments = ["--graph", "multi_lora", "--config", str(config), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "serve_app.deployments.launch", *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("headrace: ")
    assert done.stderr.count("\n") == 1
    logs = Path(json.loads(done.stdout.splitlines()[0])["logs"])
    assert (logs / "session_latest").exists(), "the logs of a failed start are kept"
    shutil.rmtree(logs.parent)


def _prices(model: str) -> dict[str, object]:
    price = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
    return {model: price, "qwen2.5-coder-0.5b-instruct": price}
