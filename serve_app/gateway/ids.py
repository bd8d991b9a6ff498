"""Ids of queries and of gateways. They sort by time, so that the ledger's index grows at its end."""

import secrets
import time

QUERY_ID_HEADER = "x-headrace-query-id"
_PREFIXES = ("chatcmpl-", "cmpl-")


def new_query_id() -> str:
    """`q`, twelve hexadecimal digits of the time in milliseconds, sixteen random ones."""
    return f"q{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def new_gateway_id() -> str:
    """`g`, twelve hexadecimal digits of the time in milliseconds, eight random ones: unique to a process."""
    return f"g{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


def query_id_of(name: str) -> str:
    """The query meant by its own id or by the id of its answer.

    >>> query_id_of("chatcmpl-q019ab"), query_id_of("q019ab")
    ('q019ab', 'q019ab')
    """
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
