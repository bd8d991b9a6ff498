"""What the launcher puts into the environment before Ray is imported."""

import subprocess
import sys
from pathlib import Path

from serve_app.deployments.switches import one_machine

CONFIGURATION = """\
frontend prometheus
    bind :9101
frontend http_frontend
    bind 127.0.0.1:8000
listen stats
  bind *:8404
"""


def test_the_script_before_haproxy_binds_every_page_to_loopback(tmp_path: Path) -> None:
    switches = one_machine(tmp_path)
    file = tmp_path / "haproxy.cfg"
    file.write_text(CONFIGURATION)
    subprocess.run([switches["RAY_SERVE_HAPROXY_BINARY_PATH"], "-c", "-f", str(file)], capture_output=True, timeout=20)
    binds = [line.strip() for line in file.read_text().splitlines() if "bind" in line]
    assert binds == ["bind 127.0.0.1:9101", "bind 127.0.0.1:8000", "bind 127.0.0.1:8404"]


def test_ports_differ_and_files_lie_in_the_private_folder(tmp_path: Path) -> None:
    switches = one_machine(tmp_path)
    ports = [value for name, value in switches.items() if name.endswith("_PORT")]
    assert len(set(ports)) == len(ports) == 3
    files = [value for name, value in switches.items() if name.endswith(("_PATH", "_LOC", "_FILE", "_BASE", "_TARGET"))]
    assert all(Path(value).is_relative_to(tmp_path) for value in files)


def test_neither_switches_nor_launcher_import_ray_before_the_environment_is_set() -> None:
    code = "import sys, serve_app.deployments.launch; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
