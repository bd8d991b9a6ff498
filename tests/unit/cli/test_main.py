"""The command line as a whole: one sentence and the right exit code, never a traceback."""

import sys
from pathlib import Path

import pytest
import yaml

from serve_app.cli.main import main
from serve_app.config import profiles

DATA = "rows.jsonl"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["serve", "--graph", "nosuch"],
            1,
            "no graph 'nosuch'; choose cascade, ensemble, multi_lora, production, rag, router",
        ),
        (["serve", "--graph", "a.b"], 1, "no graph 'a.b'"),
        (["serve", "--graph", "__init__"], 1, "no graph '__init__'"),
        (["adapters", "verify", "code", "--base", "a" * 300], 1, "File name too long"),
        (["adapters", "train", "--data", DATA, "--out", "o", "--device", "foo"], 1, "device 'foo' is unknown"),
        (["adapters", "train", "--data", DATA, "--out", "o", "--threads", "0"], 2, ""),
        (["ledger", "report", "--since", "soon"], 2, ""),
        (["nosuch"], 2, ""),
    ],
)
def test_a_mistake_ends_with_its_code_and_a_sentence(
    arguments: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DATA).write_text('{"prompt": "a", "completion": "b"}\n')
    monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert sentence in capsys.readouterr().err


def test_a_remote_key_that_is_not_in_the_environment_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(profiles()["demo"].read_text())
    server = {"base_url": "https://llm.example/v1", "model": "big", "api_key_env": "HEADRACE_NO_SUCH_KEY"}
    settings["fallback"] |= {"engine": "openai", "remote": {"servers": [server]}}
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    monkeypatch.delenv("HEADRACE_NO_SUCH_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["headrace", "serve", "--config", str(config)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capsys.readouterr().err.strip() == (
        "headrace: fallback.remote.servers, big, api_key_env: The environment variable HEADRACE_NO_SUCH_KEY is to hold "
        "an API key, and is not set."
    )


def test_a_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/locked")

    monkeypatch.setattr("serve_app.catalogue.entries", refuse)
    monkeypatch.setattr(sys, "argv", ["headrace", "models", "list"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("headrace: /srv/locked cannot be used: Permission denied;")
