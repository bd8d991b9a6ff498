"""Which rows a caller may see, as filters of a table.

What callers wrote is not put into a filter: names, owners and metadata stand in the table, beside themselves, as
hexadecimal digests, and filters compare those. So nothing that a caller writes can change a filter's meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping


def document_key(document_id: str, key_id: str | None) -> str:
    """Names a document of an owner, within its collection."""
    return _digest("document", document_id, key_id)


def owner_key(key_id: str | None) -> str:
    """Names an owner; None: everybody."""
    return _digest("owner", key_id)


def label(name: str, value: str) -> str:
    """Names a word of metadata with its value."""
    return _digest("label", name, value)


def visible(key_id: str | None, where: Mapping[str, str]) -> str:
    """Rows of everybody's documents and the caller's own whose documents have all of that metadata."""
    owners = _one_of("owner_key", {owner_key(None), owner_key(key_id)})
    return f"{owners} AND {labelled(where)}" if where else owners


def labelled(where: Mapping[str, str]) -> str:
    """Rows of anybody's documents that have all of that metadata; empty: all rows."""
    return " AND ".join(f"array_has(labels, '{label(*word)}')" for word in where.items())


def of_documents(keys: Iterable[str]) -> str:
    """Rows of documents with those keys, of which there is at least one."""
    return _one_of("document_key", keys)


def _one_of(column: str, digests: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(digest) for digest in sorted(set(digests)))})"


def _digest(*told: str | None) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
