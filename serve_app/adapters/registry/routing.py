"""Which router answers, and which adapter each of its labels gets: what was applied to a running graph, by revision.

Each change is one row, and a router's files lie in the same database: a change is there whole, or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
)

from serve_app.core import RequestError
from serve_app.store import Store, insert_into
from serve_app.store.faults import store_faults

metadata = MetaData()

routing_changes = Table(
    "routing_changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False, doc="rises by one with every change"),
    Column("at_s", Double, nullable=False, doc="seconds since the epoch"),
    Column("actor", String, nullable=False, doc="name of the API key"),
    Column("routes", JSON(none_as_null=True), doc="label -> adapter; null: those of the settings"),
    Column("fallback", String, doc="adapter of all other labels; null: that of the settings"),
    Column("router", String, doc="digest of the router's files; null: the router of the settings"),
    Column("detail", String, nullable=False, doc="more of it, in words"),
)

router_files = Table(
    "router_files",
    metadata,
    Column("digest", String, primary_key=True, doc="sha256 over the router's files"),
    Column("name", String, primary_key=True, doc="of the file"),
    Column("data", LargeBinary, nullable=False, doc="its bytes"),
)

ROUTER_FILES = ("router.json", "router.safetensors")
_KEPT_CHANGES = 10
"""Routers that none of so many last changes names are deleted."""


@dataclass(frozen=True, slots=True)
class Routing:
    """What is in force. Revision 0: nothing was applied, the settings count."""

    revision: int = 0
    routes: Mapping[str, str] | None = None
    """Label -> adapter, or `base`; None: those of the settings."""
    fallback: str | None = None
    """Adapter of the labels that are not listed; None: that of the settings."""
    router: str | None = None
    """Digest of the router's files; None: the router of the settings."""
    at_s: float = 0.0
    """Seconds since the epoch."""
    actor: str = ""
    detail: str = ""


class RoutingSource(Protocol):
    """Whoever tells of changes: the ledger's deployment."""

    async def routing_since(self, revision: int) -> Routing | None:
        """What is in force, where its revision is another than that (-1: in any case). Raises LedgerError."""
        ...


def digest_of(files: Mapping[str, bytes]) -> str:
    """sha256, hexadecimal, over names and bytes of a router's files."""
    digest = hashlib.sha256()
    for name in ROUTER_FILES:
        digest.update(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()


class RoutingRegistry:
    """Over an open store; used from one event loop. Every method raises LedgerError while the database is away."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._clock = store, clock

    async def since(self, revision: int) -> Routing | None:
        """See `RoutingSource`."""
        with store_faults():
            found = await self._store.read(_current)
        return None if found.revision == revision else found

    async def history(self, limit: int) -> tuple[Routing, ...]:
        """The last changes, newest first."""
        newest = select(routing_changes).order_by(routing_changes.c.revision.desc()).limit(limit)
        with store_faults():
            rows = await self._store.read(lambda connection: connection.execute(newest).all())
        return tuple(_routing(row) for row in rows)

    async def apply(self, wanted: Routing, files: Mapping[str, bytes] | None, after: int | None = None) -> Routing:
        """Put this in force; its revision and time are set here. `files`: of a router that may be new.

        Raises RequestError, with code `conflict`, where another revision than `after` is in force, or the router's
        files are not here. What is in force already is not applied again.
        """

        def work(connection: Connection) -> Routing:
            before = _current(connection)
            if after is not None and before.revision != after:
                raise RequestError(
                    f"Revision {before.revision} of the routing is in force, not {after}; look at it, and send again.",
                    "after",
                    "conflict",
                )
            changed = replace(wanted, revision=before.revision + 1, at_s=self._clock())
            if _same(before, changed):
                return before
            if files is not None:
                _put_files(connection, files)
            elif changed.router is not None and not _has_files(connection, changed.router):
                raise RequestError("The files of that router are not kept any more; send them.", "router", "conflict")
            connection.execute(insert(routing_changes).values(_row(changed)))
            _forget_files(connection)
            return changed

        with store_faults():
            return await self._store.write(work)

    async def files(self, digest: str) -> dict[str, bytes]:
        """The files of a router. Raises RequestError where they are not kept."""
        wanted = select(router_files.c.name, router_files.c.data).where(router_files.c.digest == digest)
        with store_faults():
            found = await self._store.read(lambda connection: connection.execute(wanted).all())
        if not found:
            raise RequestError(f"There is no router {digest[:12]}.", "router", "not_found")
        return {row.name: bytes(row.data) for row in found}


def _current(connection: Connection) -> Routing:
    newest = select(routing_changes).order_by(routing_changes.c.revision.desc()).limit(1)
    row = connection.execute(newest).first()
    return Routing() if row is None else _routing(row)


def _routing(row: Row[Any]) -> Routing:
    return Routing(**row._mapping)


def _row(routing: Routing) -> dict[str, Any]:
    row = {column.name: getattr(routing, column.name) for column in routing_changes.c}
    return row | {"routes": None if routing.routes is None else dict(routing.routes)}


def _same(one: Routing, other: Routing) -> bool:
    return (one.routes, one.fallback, one.router) == (other.routes, other.fallback, other.router)


def _put_files(connection: Connection, files: Mapping[str, bytes]) -> None:
    digest = digest_of(files)
    rows = [{"digest": digest, "name": name, "data": files[name]} for name in ROUTER_FILES]
    for row in rows:
        connection.execute(insert_into(connection, router_files).values(row).on_conflict_do_nothing())


def _has_files(connection: Connection, digest: str) -> bool:
    return connection.execute(select(router_files.c.name).where(router_files.c.digest == digest)).first() is not None


def _forget_files(connection: Connection) -> None:
    newest = select(routing_changes.c.router).order_by(routing_changes.c.revision.desc()).limit(_KEPT_CHANGES)
    kept = [digest for digest in connection.execute(newest).scalars() if digest is not None]
    connection.execute(delete(router_files).where(router_files.c.digest.not_in(kept)))
