"""What is said of a machine, and what ends a start before it begins."""

import json
import socket
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from serve_app.checklist import doctor
from serve_app.cli.main import app
from serve_app.config import Settings
from tests.unit.checklist.conftest import FactsOf

Memory = namedtuple("Memory", "total available")


def statuses(settings: Settings) -> dict[str, str]:
    return {one.name: one.finding.status for one in doctor.examine(settings)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def settings(facts_of: FactsOf) -> Settings:
    return facts_of({"gateway": {"port": free_port()}}).settings


def test_a_port_that_is_taken_is_named(settings: Settings) -> None:
    assert statuses(settings)["port"] == "pass"
    with socket.create_server(("127.0.0.1", settings.gateway.port)):
        assert statuses(settings)["port"] == "fail"


def test_too_little_memory_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(8 * 2**30, 2 * 2**30))
    assert statuses(settings)["memory"] == "fail"


def test_models_and_compiler_that_are_not_there_are_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ready_files", lambda entry: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    found = {one.name: one.finding for one in doctor.examine(settings)}
    assert (found["models"].status, found["compiler"].status) == ("warn", "warn")
    assert found["models"].fix.startswith("headrace models pull all-minilm-l6-v2 ")


def test_only_models_of_the_catalogue_are_said_to_be_here(facts_of: FactsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ready_files", lambda entry: entry)
    own = {"specialists": {"model": "/models/mine"}, "router": {"encoder": "/models/encoder"}}
    own["prices"] = {"models": {"/models/mine": {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.1"}}}
    found = {one.name: one.finding for one in doctor.examine(facts_of(own).settings)}
    assert (found["models"].status, found["models"].evidence) == ("pass", "qwen2.5-coder-0.5b-instruct are here.")


def test_the_command_exits_with_one_where_the_machine_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(8 * 2**30, 2 * 2**30))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    named = {one["name"]: one["status"] for one in json.loads(result.output)["machine"]}
    assert named["memory"] == "fail"
    assert "memory" in CliRunner().invoke(app, ["doctor"]).output


def test_a_containers_limit_counts(
    settings: Settings, facts_of: FactsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(64 * 2**30, 60 * 2**30))
    monkeypatch.setattr(doctor, "_CONTAINER", tmp_path / "memory.max")
    remote = {"engine": "openai", "remote": {"servers": [{"base_url": "http://127.0.0.1:9/v1", "model": "gpt"}]}}
    elsewhere = facts_of(
        {"specialists": remote, "fallback": remote, "gateway": {"port": settings.gateway.port}}
    ).settings
    for limit, here, without_models in (
        ("max", "pass", "pass"),
        (str(4 * 2**30), "fail", "pass"),
        ("1000", "fail", "fail"),
    ):
        (tmp_path / "memory.max").write_text(limit + "\n")
        assert statuses(settings)["memory"] == here
        assert statuses(elsewhere)["memory"] == without_models


def test_what_serve_would_refuse_is_said_before(facts_of: FactsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    server = {"base_url": "http://127.0.0.1:9/v1", "model": "gpt", "api_key_env": "KEY_OF_NOBODY"}
    asked = facts_of({"fallback": {"engine": "openai", "remote": {"servers": [server]}}, "rag": {"enabled": True}})
    found = {one.name: one.finding for one in doctor.examine(asked.settings)}
    assert found["keys of servers"].status == "fail"
    assert "fallback.remote.servers, gpt, api_key_env" in found["keys of servers"].evidence
    monkeypatch.setenv("KEY_OF_NOBODY", "secret")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    found = {one.name: one.finding for one in doctor.examine(asked.settings)}
    assert (found["keys of servers"].status, found["documents"].status) == ("pass", "fail")
    plain = statuses(facts_of().settings)
    assert plain["keys of servers"] == plain["documents"] == "not_applicable"
