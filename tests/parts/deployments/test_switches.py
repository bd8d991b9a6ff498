"""What the launcher puts into the environment before Ray is imported."""

import subprocess
from pathlib import Path

from serve_app.deployments.switches import one_machine


def test_the_script_before_haproxy_needs_no_installed_package(tmp_path: Path) -> None:
    script = one_machine(tmp_path)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    absent = str(tmp_path / "absent.cfg")
    done = subprocess.run([script, "-f", absent], capture_output=True, text=True, timeout=20, cwd="/", env={})
    assert done.returncode == 1
    assert done.stderr.startswith("headrace-haproxy: ")
    assert absent in done.stderr


def test_ports_differ_and_files_lie_in_the_private_folder(tmp_path: Path) -> None:
    switches = one_machine(tmp_path)
    ports = [value for name, value in switches.items() if name.endswith("_PORT")]
    assert len(set(ports)) == len(ports) == 3
    files = [value for name, value in switches.items() if name.endswith(("_PATH", "_LOC", "_FILE", "_BASE", "_TARGET"))]
    assert all(Path(value).is_relative_to(tmp_path) for value in files)
