"""What a process loads that does only its own part: each is asked in a new interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "ray", "sklearn", "scipy"}


@pytest.mark.parametrize(
    "module", ["serve_app.gateway", "serve_app.router", "serve_app.ledger", "serve_app.cache", "serve_app.cli"]
)
def test_light_replicas_and_the_command_start_without_torch(module: str, repo: Path) -> None:
    code = f"import sys, {module}; print(sorted({HEAVY} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repo).stdout
    assert printed.strip() == "[]"


def test_opentelemetry_is_not_imported_while_traces_are_off(repo: Path):
    code = (
        "import sys; from serve_app.config.telemetry import TelemetrySettings; from serve_app.telemetry import "
        "make_tracer; make_tracer(TelemetrySettings()); print([m for m in sys.modules if m.startswith('opentele')])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repo).stdout
    assert printed.strip() == "[]"


def test_neither_switches_nor_launcher_import_ray_before_the_environment_is_set() -> None:
    code = "import sys, serve_app.deployments.launch; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Absent())
import serve_app.deployments.engine, serve_app.engines.vllm, serve_app.adapters, serve_app.catalogue
"""
ABSENT = "sqlalchemy alembic sklearn onnxruntime typer genai_prices gguf peft"


def test_replica_of_an_engine_imports_no_part_of_the_ledger(repo: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, ABSENT]
    environment = os.environ | {"PYTHONPATH": str(repo)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
