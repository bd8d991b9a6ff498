"""The store's one error."""

from serve_app.core import HeadraceError


class StoreError(HeadraceError):
    """The database cannot be opened, read or written; the message names it without its password."""
