"""Accounts as the unit tests of the ledger build them."""

from tests.unit.ledger.conftest import answer, attempt, book, full, ledger, prices

__all__ = ["answer", "attempt", "book", "full", "ledger", "prices"]
