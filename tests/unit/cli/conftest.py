import json
from contextlib import asynccontextmanager

import pytest
import yaml

from serve_app.cli.estimating import engines
from tests.unit.cli.estimating import LOG, SETTINGS, KeywordRouter, large_engine, small_engine


@pytest.fixture
def here(monkeypatch):
    """The engines of the settings are scripted ones; returns those that were started, by model."""
    started = {}

    @asynccontextmanager
    async def running(node, adapters, threads):
        started[node.model] = small_engine() if node.model == "small" else large_engine()
        yield started[node.model]

    monkeypatch.setattr(engines, "running", running)
    monkeypatch.setattr(engines, "router", lambda settings: KeywordRouter())
    return started


@pytest.fixture
def files(tmp_path):
    log, config = tmp_path / "log.jsonl", tmp_path / "settings.yaml"
    rows = [{"messages": one.body["messages"], "response": one.response} for one in LOG[:3]]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config.write_text(yaml.safe_dump(SETTINGS))
    return log, config
