"""Settings with some keys, and a store of keys in a temporary file."""

from collections.abc import Callable
from typing import Any

import pytest

from serve_app.config import Settings
from serve_app.keys import KeyStore
from serve_app.store import Store

SETTINGS = {
    "specialists": {"model": "small"},
    "fallback": {"model": "large"},
    "prices": {
        "version": "v1",
        "models": {name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"} for name in ("small", "large")},
    },
}


@pytest.fixture(scope="session")
def settings() -> Callable[..., Settings]:
    """`settings(gateway={…})`."""
    return lambda **sections: Settings.model_validate({**SETTINGS, **sections})


@pytest.fixture
async def store(tmp_path) -> Any:
    """An open store of keys; its file is `store.file`, its clock stands at 1000."""
    database = Store(str(tmp_path / "keys.sqlite3"))
    await database.open()
    yield KeyStore(database, clock=lambda: 1000.0)
    await database.close()
