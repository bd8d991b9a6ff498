"""The SQL store that ledger, keys, budgets, adapter registry and canaries share: threads, transactions, migrations.

Knows SQLite and PostgreSQL; knows no queries, prices or adapters. Tables belong to the packages that fill them,
their creation to the one stream of migrations here.
"""

from serve_app.store.errors import StoreError
from serve_app.store.inserts import insert_into
from serve_app.store.store import Store
from serve_app.store.url import shown, store_url

__all__ = ["Store", "StoreError", "insert_into", "shown", "store_url"]
