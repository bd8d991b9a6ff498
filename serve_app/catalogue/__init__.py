"""Which models exist, where their files come from, and whether they are whole.

    entries.py   models.toml: which models there are, and where their files come from
    puller.py    from an entry to a whole model here, over fetch.py (wheels), hub.py, assemble.py and conversion.py
    convert.py   in a process of its own: the files that engine and encoder read; torch
    cache.py     where models lie, and finding one; record.py: headrace.json, what its files must be

Knows wheels, the hub and folders; knows no engine. `resolve` is what others call, `pull` what a person runs first.
"""

from serve_app.catalogue.cache import ModelFiles, cache_dir, resolve, state, verify
from serve_app.catalogue.entries import Entry, entries, entry
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.puller import pull

__all__ = ["Entry", "ModelFiles", "Progress", "cache_dir", "entries", "entry", "pull", "resolve", "state", "verify"]
