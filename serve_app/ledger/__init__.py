"""What every query cost, and what it would have cost without Headrace.

Knows prices, accounts, tables and statistics; knows no HTTP, no Ray and no text of any query. An account goes
`PriceBook.price` (gateway) -> `Recorder.put` (gateway) -> `SqlLedger.record` (the one writer) -> `stats`, `query`.
"""

from serve_app.ledger.pricebook import PriceBook
from serve_app.ledger.public import public_account
from serve_app.ledger.recorder import Recorder
from serve_app.ledger.sql import SqlLedger
from serve_app.ledger.stats import GROUP_KEYS
from serve_app.ledger.times import parse_time

__all__ = ["GROUP_KEYS", "PriceBook", "Recorder", "SqlLedger", "parse_time", "public_account"]
