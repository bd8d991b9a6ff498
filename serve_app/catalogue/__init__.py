"""Which models exist, where their files come from, and whether they are whole.

Knows wheels, the hub and folders; knows no engine. `resolve` is what others call, `pull` what a person runs first.
"""

from serve_app.catalogue.cache import ModelFiles, cache_dir, resolve, state, verify
from serve_app.catalogue.entries import Entry, entries, entry
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.puller import pull

__all__ = ["Entry", "ModelFiles", "Progress", "cache_dir", "entries", "entry", "pull", "resolve", "state", "verify"]
