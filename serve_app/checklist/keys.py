"""Who may ask: the keys of the settings, and those that are stored beside the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.config import Settings


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of the keys."""

    is_open: bool
    """Whether anybody may ask, without a key."""
    has_admin: bool
    """Whether there is an admin key."""
    evidence: str
    """Which keys there are, and where they were seen."""


def of_server(settings: Settings, viewer: Mapping[str, Any]) -> KeyFacts:
    """As a running server lets one ask it: `viewer` of its `/v1/status`."""
    role = viewer["role"]
    if role == "open":
        return KeyFacts(True, False, "The running server asks for no key.")
    has_admin = bool(settings.gateway.admin_keys) or role == "admin"
    return KeyFacts(False, has_admin, f"The running server asks for keys, and was asked with one of role {role}.")


def of_settings(settings: Settings, unread: str = "") -> KeyFacts:
    """Where no database is written yet that could hold others; or it could not be read, and `unread` says why."""
    gateway = settings.gateway
    is_open = not (gateway.api_keys or gateway.admin_keys)
    rest = f"others were not seen: {unread}" if unread else "no ledger is there that could hold others."
    return KeyFacts(is_open, bool(gateway.admin_keys), f"{_said(settings)}; {rest}")


async def of_database(settings: Settings, url: str) -> KeyFacts:
    """Of the settings and of the database at `url`. Raises LedgerError."""
    from serve_app.keys import KeyStore
    from serve_app.ledger import SqlLedger

    ledger = SqlLedger(url, read_only=True)
    try:
        await ledger.open()
        stored = await KeyStore(ledger.store).keys()
    finally:
        await ledger.close()
    gateway, roles = settings.gateway, [record.key.role for record in stored.records]
    is_open = not (gateway.api_keys or gateway.admin_keys or roles or stored.num_revoked)
    has_admin = bool(gateway.admin_keys) or "admin" in roles
    said = f"{_said(settings)}, the ledger {len(roles)}, of which {roles.count('admin')} are admin keys."
    return KeyFacts(is_open, has_admin, said)


def _said(settings: Settings) -> str:
    gateway = settings.gateway
    return f"The settings hold {len(gateway.api_keys)} user and {len(gateway.admin_keys)} admin keys"
