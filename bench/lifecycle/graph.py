"""The graph under change: `multi_lora` with the real engine twice, two gateways, a ledger file and its own store."""

import sqlite3
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import profiles

ADMIN_KEY, USER_KEY = "lifecycle-admin-key", "lifecycle-user-key"
LEDGER = "ledger.sqlite3"


def write_settings(folder: Path, live: dict[str, Path]) -> Path:
    """The demo profile in float32, with these adapters live from the start, by name."""
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    settings["specialists"] |= {
        "dtype": "float32",
        "linear": "packed",
        "max_rows": 8,
        "max_context_tokens": 256,
        "max_waiting": 256,
        "prefix_slots": 2,
        "adapter_slots": 4,
        "max_adapter_rank": 8,
        "gate_cores": 2,
    }
    settings["adapters"] = {name: {"path": str(path)} for name, path in live.items()}
    settings["routes"] = {"default": "base"}
    settings["ledger"] = {"url": f"sqlite:///{folder / LEDGER}", "journal": {"folder": str(folder / "journals")}}
    settings["registry"] = {"store": str(folder / "store")}
    settings["canary"] = {"automatic": "off"}  # the bench itself decides
    settings["gateway"] |= {"api_keys": {"clients": USER_KEY}, "admin_keys": {"operator": ADMIN_KEY}}
    two = {"min_replicas": 2, "max_replicas": 2}
    settings["deployments"] |= {
        "gateway": {"num_cpus": 0.1, **two},
        "specialists": {"num_cpus": 0.6, **two},
        "ledger": {"num_cpus": 0.1},
    }
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def versions_in_ledger(folder: Path) -> dict[str, str | None]:
    """Query id -> version of the answer, of all accepted queries. Read when the graph has stopped."""
    with sqlite3.connect(folder / LEDGER) as database:
        found = database.execute("SELECT query_id, adapter_version FROM queries WHERE outcome = 'accepted'")
        return dict(found.fetchall())
