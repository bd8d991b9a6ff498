"""`headrace models` as a person and a script see it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from serve_app import catalogue
from serve_app.catalogue import puller
from serve_app.cli.models import app
from serve_app.core import CatalogueError

run = CliRunner().invoke


@pytest.fixture
def tiny(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command pulls the test's tiny model, with no pip and no converter."""
    monkeypatch.setattr(puller, "Puller", world.puller)
    return world


def test_list_shows_each_model_with_its_state(tiny: Any) -> None:
    rows = {row["name"]: row for row in json.loads(run(app, ["list", "--json"]).stdout)}
    assert rows["tiny"]["state"] == "absent"
    assert rows["qwen2.5-coder-1.5b-instruct"]["download_bytes"] == 1_092_845_809
    table = run(app, ["list"]).stdout
    assert all(word in table for word in ("all-minilm-l6-v2", "Apache-2.0", "3.57 GB", "absent"))


def test_pull_prints_where_the_model_is_and_the_bytes_it_took(tiny: Any) -> None:
    said = run(app, ["pull", "tiny", "tiny", "--json"])
    assert said.exit_code == 0, said.output
    (model,) = json.loads(said.stdout)["models"]
    assert (model["name"], model["path"]) == ("tiny", str(tiny.cache / "models" / "tiny"))
    assert model["downloaded_bytes"] == catalogue.entry("tiny").download_bytes
    assert "0 MB downloaded" in run(app, ["pull", "tiny"]).stdout
    assert tiny.convert.runs == 1


def test_force_pulls_anew(tiny: Any) -> None:
    for arguments in (["pull", "tiny"], ["pull", "tiny", "--force"]):
        assert run(app, arguments).exit_code == 0
    assert tiny.convert.runs == 2


def test_wrong_last_name_is_said_before_the_first_download(tiny: Any) -> None:
    said = run(app, ["pull", "tiny", "tine"])
    assert isinstance(said.exception, CatalogueError)
    assert tiny.fetch.fetched == []


def test_pull_of_nothing_is_a_usage_error(tiny: Any) -> None:
    assert run(app, ["pull"]).exit_code == 2


def test_verify_reads_what_was_pulled_and_names_damage(tiny: Any) -> None:
    assert "No model has been pulled yet" in run(app, ["verify"]).stdout
    run(app, ["pull", "tiny"])
    assert [row["name"] for row in json.loads(run(app, ["verify", "--json"]).stdout)] == ["tiny"]
    (tiny.cache / "models" / "tiny" / "model.safetensors").write_bytes(b"damaged")
    said = run(app, ["verify", "tiny"])
    assert isinstance(said.exception, CatalogueError)
    assert "model.safetensors is not as it was pulled" in str(said.exception)
