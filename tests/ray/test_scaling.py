"""Serve scales by our policy: application level, from a config, on figures that replicas report, to zero and back."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_deployments_scale_apart_and_the_fallback_starts_before_it_is_called() -> None:
    path = os.pathsep.join([str(HERE / "scripted"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "scaling_run.py")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    assert seen[0] == {"Gateway": 1, "Specialists": 1, "Fallback": 0}
    assert max(now["Specialists"] for now in seen) == 3
    assert max(now["Fallback"] for now in seen) >= 2
    assert seen[-1] == {"Gateway": 1, "Specialists": 1, "Fallback": 0}
