"""API keys: who may ask, for what, and within which limits.

Knows names, roles, allow-lists and digests; knows no HTTP. A key itself is shown once, when it is made, and kept
nowhere. Keys come from the settings and from the database; a `KeyRing` in each gateway joins both, and follows changes.
"""

from serve_app.keys.kept import KeptKeys
from serve_app.keys.key import Key, NotPermitted
from serve_app.keys.record import KeyRecord, KeySnapshot, KeySource
from serve_app.keys.ring import KeyRing
from serve_app.keys.secret import digest_of
from serve_app.keys.store import KeyStore

__all__ = [
    "KeptKeys",
    "Key",
    "KeyRecord",
    "KeyRing",
    "KeySnapshot",
    "KeySource",
    "KeyStore",
    "NotPermitted",
    "digest_of",
]
