"""What stands in deploy/ is what deploy/render.py writes, and what graphs/ says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve_app.config import load
from serve_app.deployments.switches import every_node
from tests.parts.deploy.conftest import KUBERAY
from tests.parts.deploy.rendering import rendering

AGAIN = "run: python deploy/render.py"
OVERLAYS = sorted(path.parent for path in KUBERAY.glob("overlays/*/settings.yaml"))


@pytest.fixture(autouse=True)
def operator_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_OPERATOR_KEY", "12345678")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_the_serve_config_is_that_of_the_settings_beside_it(overlay: Path, repo: Path) -> None:
    assert (overlay / "serve-config.yaml").read_text() == rendering(repo).serve_config(overlay), AGAIN


def test_the_dockerfile_has_today_s_switches(repo: Path) -> None:
    module = rendering(repo)
    text = module.DOCKERFILE.read_text()
    assert text == module.dockerfile(), AGAIN
    same = module.switches().items() & every_node().items()
    assert every_node().keys() - dict(same).keys() == {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
    assert all(f'{name}="{value}"' in text for name, value in module.switches().items())


def test_the_prometheus_operator_gets_the_same_alerts(repo: Path) -> None:
    module = rendering(repo)
    assert module.RULE.read_text() == module.prometheus_rule(), AGAIN
    rule = yaml.safe_load(module.RULE.read_text())
    assert rule["spec"] == yaml.safe_load(module.RULES.read_text())


def test_production_on_kubernetes_is_the_production_graph(repo: Path) -> None:
    patch = yaml.safe_load((KUBERAY / "overlays" / "production" / "serve-config.yaml").read_text())
    here = yaml.safe_load(patch["spec"]["serveConfigV2"])
    graph = yaml.safe_load((repo / "graphs" / "production.yaml").read_text())
    for config in (here, graph):
        config["applications"][0]["runtime_env"]["env_vars"].pop("HEADRACE_CONFIG")
    assert here == graph


def test_on_kubernetes_accounts_outlive_pods_and_no_server_is_open() -> None:
    profile, mine = load("cluster"), load(str(KUBERAY / "overlays" / "production" / "settings.yaml"))
    assert (mine.ledger.durability, mine.ledger.journal.folder) == ("replicated", "/var/lib/headrace/journals")
    assert (mine.specialists, mine.fallback, mine.adapters) == (profile.specialists, profile.fallback, profile.adapters)
    for overlay in OVERLAYS:
        assert load(str(overlay / "settings.yaml")).gateway.admin_keys


def test_hadolint_has_nothing_to_say_about_the_dockerfile(repo: Path) -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program is not None, "pip install -e '.[dev]'"
    file = repo / "deploy" / "docker" / "Dockerfile"
    done = subprocess.run([program, "--no-color", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_image_is_built_from_what_the_package_needs_and_no_more(repo: Path) -> None:
    ignore = (repo / "deploy" / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        word
        for line in (repo / "deploy" / "docker" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert kept == copied
    assert all((repo / name).exists() for name in copied)
