"""What a check may look at. Everything that takes time is read when it is first asked for, and once."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from serve_app.adapters import AdapterSpec, load, shipped
from serve_app.checklist.grafana import Grafana
from serve_app.checklist.keys import KeyFacts, of_database, of_server, of_settings
from serve_app.checklist.machines import Machine, this_machine
from serve_app.checklist.prometheus import Prometheus
from serve_app.checklist.records import Records
from serve_app.checklist.reports import Gate, Metrics, read_report
from serve_app.config import Settings
from serve_app.core import AdapterError, HeadraceError, LedgerError
from serve_app.router.artifact import Record as RouterRecord
from serve_app.router.artifact import read_record
from serve_app.router.domain import shipped as shipped_router

Profile = Literal["demo", "production"]

T = TypeVar("T")

Page = Callable[[str], Awaitable[dict[str, Any]]]
"""A path of the running server, such as `/v1/status` -> the JSON object there. Raises HeadraceError."""


class AdapterFacts:
    """An adapter of the settings as it lies on disk."""

    def __init__(self, name: str, folder: Path, spec: AdapterSpec | None, error: str = "") -> None:
        """`spec` None: it cannot be read, and `error` says why."""
        self.name, self.spec, self.error = name, spec, error
        self._folder = folder

    @cached_property
    def metrics(self) -> Metrics | None:
        """Of whoever trained it with Headrace; None: there are none. Raises DataError where they are damaged."""
        return read_report(self._folder / "metrics.json", Metrics)

    @cached_property
    def gate(self) -> Gate | None:
        """What `headrace distill` found; None: it was not asked. Raises DataError where the file is damaged."""
        return read_report(self._folder / "gate.json", Gate)


class Once:
    """Answers by what was asked for, each asked for once: a server or a database that hangs is not waited for again."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    async def get(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Raises HeadraceError where `ask` did."""
        if what not in self._known:
            try:
                self._known[what] = await ask()
            except HeadraceError as error:
                self._known[what] = error
        known: T | HeadraceError = self._known[what]
        if isinstance(known, HeadraceError):
            raise known
        return known


class Server:
    """The pages of a running server, each asked for once."""

    def __init__(self, page: Page) -> None:
        self._page, self._once = page, Once()

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object of a page. Raises HeadraceError with the server's own sentence."""
        return await self._once.get(path, lambda: self._page(path))


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
        """`folder`: what relative paths of the settings start from.

        `settings_file` None: a packaged profile, or a replica that was sent its settings.
        """
        self.settings, self.profile, self.folder, self.server = settings, profile, folder, server
        self.settings_file = settings_file
        self.records = Records(self.path(settings.checklist.records))
        self.prometheus = Prometheus(settings.checklist.prometheus_url)
        self.grafana = Grafana(settings.checklist.grafana_url, settings.checklist.grafana_token)
        self._once = Once()

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
    def router_record(self) -> RouterRecord:
        """The router's labels, floor and card. Raises DataError where its folder cannot be read."""
        artifact = self.settings.router.artifact
        return read_record(shipped_router() if artifact == "shipped" else self.path(artifact))

    def path(self, text: str) -> Path:
        """Where a path of the settings leads."""
        return self.folder / Path(text).expanduser()

    async def keys(self) -> KeyFacts:
        """Of the settings; beside them of the running server, else of the database.

        Raises HeadraceError where neither says it: settings with an admin key do, whatever is stored.
        """
        return await self._once.get("keys", self._read_keys)

    async def _read_keys(self) -> KeyFacts:
        try:
            if self.server is not None:
                return of_server(self.settings, (await self.server.get("/v1/status"))["viewer"])
            url = self._database()
            return of_settings(self.settings) if url is None else await of_database(self.settings, url)
        except LedgerError as error:
            if not self.settings.gateway.admin_keys:
                raise
            return of_settings(self.settings, str(error))

    def _database(self) -> str | None:
        """The ledger's database; None: a file that is not written yet. Raises ConfigError for what is no database."""
        from serve_app.store import store_url

        url = store_url(self.settings.ledger.url)
        if url.get_backend_name() != "sqlite":
            return self.settings.ledger.url
        file = self.path(str(url.database))
        return str(file) if file.exists() else None

    async def totals(self, days: float) -> Mapping[str, Any] | None:
        """Sums over the latest days, as `/v1/ledger/stats` has them; None: there is no ledger yet.

        Of the running server, else of the database that the settings name. Raises HeadraceError.
        """
        stats = await self._once.get(f"stats of {days:g} days", lambda: self._stats(days))
        return None if stats is None else stats["totals"]

    async def _stats(self, days: float) -> dict[str, Any] | None:
        if self.server is not None:
            return await self.server.get(f"/v1/ledger/stats?since={days:g}d")
        url = self._database()
        if url is None:
            return None
        from serve_app.ledger import SqlLedger

        ledger = SqlLedger(url, read_only=True)
        try:
            await ledger.open()
            return await ledger.stats(time.time() - days * 86_400, None, ())
        finally:
            await ledger.close()

    def _adapter(self, name: str) -> AdapterFacts:
        path = self.settings.adapters[name].path
        folder = self.path(path)
        try:
            if path.startswith("shipped:"):
                folder = shipped(path.removeprefix("shipped:"))
            return AdapterFacts(name, folder, load(folder, name))
        except AdapterError as error:
            return AdapterFacts(name, folder, None, str(error))
