"""What every test shares: the folder gives the marker, and the data folder is found in one place."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bench.postgres import Cluster

# In CI each commit is judged by the same examples, so that a result can be repeated; elsewhere new ones are tried.
# None has a deadline: on a machine that is busy with something else an example may take seconds.
settings.register_profile("ci", derandomize=True, deadline=None)
# `make test-unit` tries a fifth of the examples: `--hypothesis-profile=quick`.
settings.register_profile("anywhere", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")
settings.register_profile("quick", settings(), max_examples=20)

REPO = Path(__file__).resolve().parent.parent
# Tiny models are computed faster by one thread than by several that wait for each other; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

MARKED_FOLDERS = {"chromium": "chromium", "models": "models", "ray": "ray"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders mark their tests, and so does PostgreSQL."""
    for item in items:
        folder = Path(item.path).relative_to(REPO / "tests").parts[0]
        if folder in MARKED_FOLDERS:
            item.add_marker(MARKED_FOLDERS[folder])
        if "postgres_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("postgres")


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data sets; skips where it is absent."""
    path = Path(os.environ.get("HEADRACE_DATA", REPO.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"public data sets are not at {path}; set HEADRACE_DATA")
    return path


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """The interpreter of an environment with vLLM in it; skips where there is none."""
    path = os.environ.get("HEADRACE_VLLM_PYTHON")
    if not path:
        pytest.skip("HEADRACE_VLLM_PYTHON names no interpreter with vLLM; docs/vllm.md tells how to make one")
    return path


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator["Cluster"]:
    """A running PostgreSQL of this run's own; skips where its server is not installed."""
    pytest.importorskip("psycopg")
    from bench.postgres import private_cluster, server_programs

    if server_programs() is None:
        pytest.skip("no PostgreSQL server is installed; apt-get install postgresql")
    with private_cluster(durable=False) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: "Cluster") -> Iterator[str]:
    """The URL of an empty database in it."""
    with postgres_cluster.database() as url:
        yield url
