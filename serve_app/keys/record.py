"""Keys as the database has them, and how a gateway gets at them."""

from dataclasses import dataclass
from typing import Protocol

from serve_app.keys.key import Key


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored key."""

    key: Key
    digest: str
    """`secret.digest_of` the key itself."""
    created_at_s: float
    """Seconds since the epoch."""
    revoked_at_s: float | None = None
    """From then on it is refused; None: it is valid."""


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """All keys at one moment."""

    records: tuple[KeyRecord, ...] = ()
    """Valid ones."""
    num_revoked: int = 0
    """Keys that were valid once. While there is one the server is not open, even if no valid one is left."""


class KeySource(Protocol):
    """The stored keys, local or behind a handle."""

    async def keys(self) -> KeySnapshot:
        """As they are now. Raises LedgerError when they cannot be read."""
        ...
