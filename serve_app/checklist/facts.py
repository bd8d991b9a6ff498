"""What a check may look at. Everything that takes time is read when it is first asked for, and once."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from serve_app.adapters import AdapterSpec, load, shipped
from serve_app.checklist.machines import Machine, this_machine
from serve_app.checklist.prometheus import Prometheus
from serve_app.checklist.records import Records
from serve_app.config import Settings
from serve_app.core import AdapterError, DataError, LedgerError
from serve_app.router.artifact import Record as RouterRecord
from serve_app.router.artifact import read_record
from serve_app.router.domain import shipped as shipped_router

Profile = Literal["demo", "production"]

Page = Callable[[str], Awaitable[dict[str, Any]]]
"""A path of the running server, such as `/v1/status` -> the JSON object there. Raises HeadraceError."""


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """An adapter of the settings as it lies on disk."""

    name: str
    spec: AdapterSpec | None
    """None: it cannot be read; `error` says why."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """`metrics.json` of whoever trained it with Headrace; empty: there is none."""
    gate: Mapping[str, Any] = field(default_factory=dict)
    """`gate.json`, which `headrace distill` writes; empty: there is none."""
    error: str = ""


class Server:
    """The pages of a running server, each asked for once."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._seen: dict[str, dict[str, Any]] = {}

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object of a page. Raises HeadraceError with the server's own sentence."""
        if path not in self._seen:
            self._seen[path] = await self._page(path)
        return self._seen[path]


class Facts:
    """Settings, artefacts, records and, where one runs, a server."""

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        folder: Path,
        server: Server | None = None,
        settings_file: Path | None = None,
    ) -> None:
        """`folder`: what relative paths of the settings start from. `settings_file` None: a packaged profile."""
        self.settings, self.profile, self.folder, self.server = settings, profile, folder, server
        self.settings_file = settings_file
        self.records = Records(folder / settings.checklist.records)
        self.prometheus = Prometheus(settings.checklist.prometheus_url)
        self._totals: dict[float, Mapping[str, Any] | None] = {}

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        """That replicas may lie on: those of the settings; of a demonstration this one; else none is known."""
        stated = tuple(Machine(one.num_cpus, one.num_gpus) for one in self.settings.checklist.machines)
        return stated or ((this_machine(),) if self.profile == "demo" else ())

    @cached_property
    def adapters(self) -> tuple[AdapterFacts, ...]:
        """Those of the settings, read but not verified against the base."""
        return tuple(self._adapter(name) for name in self.settings.adapters)

    @cached_property
    def router_record(self) -> RouterRecord | None:
        """The router's labels, floor and card; None: its folder cannot be read."""
        try:
            return read_record(self._router_folder)
        except DataError:
            return None

    @property
    def _router_folder(self) -> Path:
        artifact = self.settings.router.artifact
        return shipped_router() if artifact == "shipped" else self.folder / artifact

    async def totals(self, days: float) -> Mapping[str, Any] | None:
        """Sums over the latest days, as `/v1/ledger/stats` has them; None: there is no ledger to read.

        Of the running server, else of the database that the settings name. Raises HeadraceError.
        """
        if days not in self._totals:
            stats = await self._stats(days)
            self._totals[days] = None if stats is None else stats["totals"]
        return self._totals[days]

    async def _stats(self, days: float) -> dict[str, Any] | None:
        if self.server is not None:
            return await self.server.get(f"/v1/ledger/stats?since={days:g}d")
        from serve_app.ledger import SqlLedger

        ledger = SqlLedger(self.settings.ledger.url, read_only=True)
        try:
            await ledger.open()
            return await ledger.stats(time.time() - days * 86_400, None, ())
        except LedgerError:
            return None
        finally:
            await ledger.close()

    def _adapter(self, name: str) -> AdapterFacts:
        path = self.settings.adapters[name].path
        try:
            folder = shipped(path.removeprefix("shipped:")) if path.startswith("shipped:") else self.folder / path
            spec = load(folder, name)
        except AdapterError as error:
            return AdapterFacts(name, None, error=str(error))
        return AdapterFacts(name, spec, _report(folder / "metrics.json"), _report(folder / "gate.json"))


def _report(file: Path) -> Mapping[str, Any]:
    """Empty where there is none, and for a file that is no JSON object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
