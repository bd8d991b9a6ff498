"""Accounts on a gateway's own disk, from before a query is dispatched until the ledger has them.

    ROOT/.lock                       held for an instant while a folder is made, taken over or removed
    ROOT/OWNER/lock                  held (flock) while the owner lives; the kernel frees it, however the owner dies
    ROOT/OWNER/00000007.segment      frames, oldest first; the last but one is being filled, the last is the spare
    ROOT/OWNER-*.damaged             what could not be read of a segment, kept for a person to look at

`frames` knows bytes and checksums, `records` turns accounts into them, `segment` and `folder` know files, `spare` makes
room ahead, `worker` waits for the disk; `Journal` is the owner's end, `adopt` is what a drainer does with the folders
of dead owners. Knows no SQL and no HTTP. Needs a local file system with flock: POSIX, not NFS.
"""

from serve_app.ledger.journal.adopt import Adopted, adopt
from serve_app.ledger.journal.folder import owner_folders
from serve_app.ledger.journal.journal import Journal

__all__ = ["Adopted", "Journal", "adopt", "owner_folders"]
