"""One line per query in the replica's log, found by the query's id. Holds no text of a prompt or an answer."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import NANO_USD, Answer

Value = str | int | float | bool | None


class QueryLog:
    """Writes lines as settings want them. For any thread, as far as the logger is."""

    def __init__(self, settings: TelemetrySettings, logger: logging.Logger) -> None:
        """`logger`: the one whose lines end up in the replica's log file."""
        self._kind, self._logger = settings.query_log, logger

    def ended(self, account: Answer) -> None:
        """A query, or a shadow, ended; `account` is its priced account."""
        if self._kind == "off" or not self._logger.isEnabledFor(logging.INFO):
            return
        values = _values(account)
        self._logger.info("%s", json.dumps(values) if self._kind == "json" else _text(values))


def _values(account: Answer) -> Mapping[str, Value]:
    usages = [attempt.usage for attempt in account.attempts]
    return {
        "event": "query",
        "query_id": account.query_id,
        "at": datetime.fromtimestamp(account.created_at_s, UTC).isoformat(timespec="milliseconds"),
        "outcome": account.outcome,
        "model": account.requested_model,
        "route": account.route,
        "answered_by": account.model,
        "adapter": account.adapter,
        "adapter_version": account.adapter_version,
        "escalated": account.escalated,
        "cache": account.cache,
        "shadow_of": account.shadow_of,
        "key": account.key_id,
        "tier": account.tier,
        "attempts": len(account.attempts),
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "cached_tokens": sum(usage.cached_tokens for usage in usages),
        "completion_tokens": sum(usage.completion_tokens for usage in usages),
        "first_token_ms": None if account.first_token_ms is None else round(account.first_token_ms, 1),
        "ms": round(account.ms, 1),
        "cost_usd": account.cost_nusd / NANO_USD,
        "always_large_usd": account.always_large_nusd / NANO_USD,
    }


def _text(values: Mapping[str, Value]) -> str:
    """`event query_id outcome`, then `name=value` for all that is known; what a user named is quoted where it must be.

    >>> _text({"event": "query", "query_id": "q1", "outcome": "accepted", "key": "team a", "route": None, "ms": 12.5})
    'query q1 accepted key="team a" ms=12.5'
    """
    head = ("event", "query_id", "outcome")
    words = [str(values[name]) for name in head]
    words += [f"{name}={_word(value)}" for name, value in values.items() if value is not None and name not in head]
    return " ".join(words)


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
