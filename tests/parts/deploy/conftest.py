"""What `kustomize build` makes of an overlay, and the RayService in it."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

KUBERAY = Path(__file__).resolve().parents[3] / "deploy" / "kuberay"
COMPONENTS = sorted(path.name for path in (KUBERAY / "components").iterdir())


def build(folder: Path) -> list[dict[str, Any]]:
    """All objects; skips where kustomize is not installed."""
    program = shutil.which("kustomize")
    if program is None:
        pytest.skip("kustomize is not installed (Debian: apt-get install kustomize)")
    done = subprocess.run([program, "build", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def ray_service(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == "RayService"]
    return found


@pytest.fixture(scope="session", params=["demo", "production", "production with all components"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The objects of an overlay."""
    name, _, with_all = request.param.partition(" with ")
    if not with_all:
        return build(KUBERAY / "overlays" / name)
    tree = tmp_path_factory.mktemp("deploy")
    shutil.copytree(KUBERAY.parent, tree, dirs_exist_ok=True)
    overlay = tree / "kuberay" / "overlays" / "all"
    overlay.mkdir()
    named = (KUBERAY / "overlays" / name / "kustomization.yaml").read_text()
    more = [f"../../components/{one}" for one in COMPONENTS if f"- ../../components/{one}" not in uncommented(named)]
    text = yaml.safe_dump({"resources": [f"../{name}"], "components": more})
    (overlay / "kustomization.yaml").write_text(text)
    return build(overlay)


def uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
