"""What `headrace serve` says before it starts anything where the extra for documents is not installed."""

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli import serve
from serve_app.cli.main import app
from serve_app.config import load


@pytest.mark.parametrize("arguments", [["--graph", "rag"], ["--config", "with.yaml"]])
def test_documents_without_their_packages_are_one_sentence(arguments, monkeypatch, tmp_path):
    settings = load("demo").model_dump(mode="json", exclude_unset=True) | {"rag": {"enabled": True}}
    real = serve.find_spec
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "lancedb" else real(name))
    (tmp_path / "with.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 1
    assert "pip install 'headrace[rag]'" in str(done.exception or done.output)
