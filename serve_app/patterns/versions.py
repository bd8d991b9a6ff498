"""Which adapters there are while queries run, and which version of one answers a conversation. Knows no registry."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Protocol

from serve_app.core import EngineError, Query

_PLACES = 2**64


class Misversioned(EngineError):
    """An engine answered with another version of the adapter than it was asked for."""


class AdapterVersions(Protocol):
    """What patterns ask about adapters. It may say something else a moment later: adapters come and go."""

    @property
    def names(self) -> Collection[str]:
        """The adapters that may be asked for, in a stable order."""
        ...

    def tried(self, query: Query) -> Mapping[str, str]:
        """Of every adapter with a canary: the version that the query's conversation gets."""
        ...

    def version(self, adapter: str, query: Query, before: str | None = None) -> str | None:
        """The version that answers the query's conversation; None: whichever the engine gives new calls.

        `before`: the one that the query was given already. It stays the same for as long as it is served.
        """
        ...


class Configured:
    """Adapters that stay as they are, one version each: those of the settings, where there is no registry."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = tuple(names)

    @property
    def names(self) -> Collection[str]:
        """See `AdapterVersions`."""
        return self._names

    def tried(self, query: Query) -> Mapping[str, str]:
        """See `AdapterVersions`. There are no canaries."""
        return {}

    def version(self, adapter: str, query: Query, before: str | None = None) -> str | None:
        """See `AdapterVersions`."""
        return before


NO_ADAPTERS = Configured()


def takes_canary(adapter: str, query: Query, weight: float) -> bool:
    """Whether the canary of an adapter answers this conversation: a share `weight` of them, from 0 to 1, does.

    A conversation is known by its key and by how it begins, so that all its turns are answered by one version. A
    greater weight adds conversations and takes none away.
    """
    return place(adapter, query) < weight * _PLACES


def place(adapter: str, query: Query) -> int:
    """Where a conversation lies, as if drawn at random from 0 to below `_PLACES`; the same on every gateway."""
    turns = query.conversation
    system = next((turn.content for turn in turns if turn.role == "system"), "")
    first = next((turn.content for turn in turns if turn.role == "user"), "")
    digest = hashlib.blake2b(digest_size=8)
    for part in (adapter, query.key_id or "", system, first):
        data = part.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big")
