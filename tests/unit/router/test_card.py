"""The router's card says what the bench measured on the weights that ship."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from serve_app.router import shipped


@pytest.fixture(scope="module")
def figures(repo: Path) -> dict:
    return json.loads((repo / "bench" / "results" / "router.json").read_text())


def test_the_bench_measured_the_weights_that_ship(figures: dict) -> None:
    for name, digest in figures["artifact"]["sha256"].items():
        found = hashlib.sha256((shipped() / name).read_bytes()).hexdigest()
        assert found == digest, f"{name} changed: run bench/router.py and bench/router_card.py again"


def test_the_card_is_written_from_the_bench(figures: dict, repo: Path) -> None:
    spec = importlib.util.spec_from_file_location("router_card", repo / "bench" / "router_card.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    record = json.loads((shipped() / "router.json").read_text())
    assert (shipped() / "README.md").read_text(encoding="utf-8") == module.card(figures, record)
