"""What the ledger said last: followed, and copied to a node's own disk. Knows no keys and no adapters; needs no SQL."""

from serve_app.snapshots.kept import Kept, KeptCopy
from serve_app.snapshots.last_told import LastTold

__all__ = ["Kept", "KeptCopy", "LastTold"]
