"""Adapters on disk: what a folder says, whether this base can run it, and which bytes it is. No torch.

load(path)    reads and checks a PEFT directory                 -> AdapterSpec
verify(spec)  checks it against a base: identity, then shapes   -> AdapterSpec, `verified` set
content_digest(path)  which bytes it is: a version begins it
shipped(name) the folder of one of the adapters in this package
"""

from __future__ import annotations

from serve_app.adapters.folder import content_digest, load, shipped, shipped_names
from serve_app.adapters.manifest import AdapterManifest
from serve_app.adapters.spec import AdapterSpec
from serve_app.adapters.verification import verify

__all__ = ["AdapterManifest", "AdapterSpec", "content_digest", "load", "shipped", "shipped_names", "verify"]
