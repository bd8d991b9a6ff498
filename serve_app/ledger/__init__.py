"""What every query cost, and what it would have cost without Headrace.

Knows prices, accounts, tables and statistics; knows no HTTP and no Ray. An account goes
`PriceBook.price` (gateway) -> `Recorder.put` (gateway) -> `SqlLedger.record` (the one writer) -> `stats`, `query`.

    prices      rates, price_version: what a token costs, exactly; pricebook: from tokens to money
                levers: what saved it; price_store: the versions of past bills; reprice: a period at other prices
    recording   recorder: the gateway's end, over pending, confirmations and journal/
    tables      tables; rows: accounts to rows and back; partitions: the days; rollups: totals of hours and days
                accounts: single ones; texts: prompts and answers, apart from accounts, where a team keeps them
    statistics  stats, over pieces (of a time range), sums, totals and latency; audits: how good the estimates are
    bill        bill, over bill_rows, shares and always_large; provisioned: the replicas' time
    outside     sql: all of it behind `core.Ledger`; public: an account for clients; export: accounts as a file
                times: points in time as people write them
"""

from serve_app.ledger.pricebook import PriceBook
from serve_app.ledger.public import public_account
from serve_app.ledger.recorder import Recorder
from serve_app.ledger.sql import SqlLedger
from serve_app.ledger.stats import GROUP_KEYS
from serve_app.ledger.times import parse_time

__all__ = ["GROUP_KEYS", "PriceBook", "Recorder", "SqlLedger", "parse_time", "public_account"]
