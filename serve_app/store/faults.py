"""What the store cannot do, told as a fault of the ledger: the one error that others handle."""

from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.core import LedgerError
from serve_app.store.errors import StoreError


@contextmanager
def store_faults() -> Iterator[None]:
    """A StoreError inside becomes a LedgerError with the same sentence."""
    try:
        yield
    except StoreError as error:
        raise LedgerError(str(error)) from error
