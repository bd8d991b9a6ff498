"""Two running graphs for the session: `production` with the demo's models, `scripted` (cascade) with none."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # under importlib import mode helper modules are found this way

from launching import Served, launch

from serve_app import catalogue
from serve_app.config import load, profiles

ROWS = 8
"""Of each scripted engine."""


def settings_file(folder: Path, **changes: dict[str, object]) -> Path:
    """The demo profile with some keys of some sections changed, and a ledger in `folder`."""
    settings = yaml.safe_load(profiles()["demo"].read_text())
    settings["ledger"] = {"url": f"sqlite:///{folder / 'ledger.sqlite3'}"}
    for section, keys in changes.items():
        settings[section] = settings.get(section, {}) | keys
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The whole graph with real models; pulls what is missing."""
    settings = load("demo")
    for name in (settings.specialists.model, settings.fallback.model, settings.router.encoder):
        catalogue.pull(name)
    folder = tmp_path_factory.mktemp("production")
    served = launch("production", settings_file(folder), folder / "stderr.log")
    yield served
    served.stop()


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where scripted engines write how calls ended."""
    file = tmp_path_factory.mktemp("notes") / "notes.txt"
    file.touch()
    return file


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> Iterator[Served]:
    """The cascade graph with scripted engines: no model, set confidence, set speed."""
    folder = tmp_path_factory.mktemp("scripted")
    engine = {"engine": "headrace_scripted:engine", "max_rows": ROWS}
    config = settings_file(folder, specialists=engine, fallback=engine)
    path = os.pathsep.join([str(Path(__file__).parent / "scripted"), os.environ.get("PYTHONPATH", "")])
    served = launch("cascade", config, folder / "stderr.log", PYTHONPATH=path, HEADRACE_NOTES=str(notes))
    yield served
    served.stop()


def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="not-needed", max_retries=0, timeout=120)


@pytest.fixture
def openai_production(production: Served) -> Iterator[openai.OpenAI]:
    with client(production) as connected:
        yield connected


@pytest.fixture
def openai_scripted(scripted: Served) -> Iterator[openai.OpenAI]:
    with client(scripted) as connected:
        yield connected
