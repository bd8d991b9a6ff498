"""The launcher's exit code when it is interrupted at an awkward moment."""

import subprocess
import sys
from pathlib import Path

MODULE = """
from serve_app.deployments import launch

def interrupted(*arguments):
    exec("raise KeyboardInterrupt")

launch._serve = interrupted
raise SystemExit(launch.main(["--json"]))
"""


def test_an_interrupt_while_a_dataclass_is_made_is_a_clean_end(tmp_path: Path, repo: Path) -> None:
    (tmp_path / "interrupted_launch.py").write_text(MODULE)
    command = [sys.executable, "-m", "interrupted_launch"]
    path = f"{tmp_path}:{repo}"
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stopped" in done.stdout
