"""Adapters on disk: what a folder says, whether this base can run it, and which bytes it is. No torch.

load(path)    reads and checks a PEFT directory                 -> AdapterSpec
verify(spec)  checks it against a base: identity, then shapes   -> AdapterSpec, `verified` set
content_digest(path)  which bytes it is; version_of(digest) is what that version is called
shipped(name) the folder of one of the adapters in this package; source_folder(source) of one that the settings name
"""

from __future__ import annotations

from serve_app.adapters.folder import content_digest, load, shipped, shipped_names, source_folder, version_of
from serve_app.adapters.manifest import AdapterManifest
from serve_app.adapters.spec import AdapterSpec
from serve_app.adapters.verification import verify

__all__ = [
    "AdapterManifest",
    "AdapterSpec",
    "content_digest",
    "load",
    "shipped",
    "shipped_names",
    "source_folder",
    "verify",
    "version_of",
]
