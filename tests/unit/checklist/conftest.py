"""Facts for checks: the demo's settings with changes, in a folder of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.checklist import Facts
from serve_app.checklist.facts import Profile, Server
from serve_app.config import Settings, profiles

FactsOf = Callable[..., Facts]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, section by section."""
    both = {key: base[key] for key in base}
    for key, value in changes.items():
        inner = base.get(key)
        both[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return both


@pytest.fixture
def facts_of(tmp_path: Path) -> FactsOf:
    """`facts_of({"gateway": {...}}, profile="demo", pages={"/v1/status": {...}})`."""

    def make(
        changes: dict[str, Any] | None = None,
        profile: Profile = "production",
        pages: dict[str, dict[str, Any]] | None = None,
    ) -> Facts:
        raw = merged(yaml.safe_load(profiles()["demo"].read_text()), changes or {})

        async def page(path: str) -> dict[str, Any]:
            assert pages is not None
            return pages[path]

        return Facts(Settings.model_validate(raw), profile, tmp_path, Server(page) if pages is not None else None)

    return make
