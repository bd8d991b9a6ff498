"""Hands prompts and answers to the ledger, where a team has switched on that they are kept.

They are redacted here, before they leave the process. They are no accounts: while the ledger is away a bounded number
waits in memory, and what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Protocol

from serve_app.config.ledger import TextsSettings
from serve_app.config.named import named
from serve_app.core import Answer, ConfigError, HeadraceError, Query
from serve_app.ledger.texts import StoredText

_LOG = logging.getLogger(__name__)
_MAX_WAITING, _BATCH, _PAUSE_S = 1000, 100, 1.0
_MAX_CHARS, _BATCH_CHARS = 32_000_000, 4_000_000
"""Of the texts that wait, and of those that go in one message, which may be a single longer one."""

Redact = Callable[[str], str]


class TextSink(Protocol):
    """Where texts are kept."""

    def put_texts(self, stored: Sequence[StoredText]) -> Awaitable[None]:
        """Keep them. Raises LedgerError."""
        ...


class Capture:
    """Collects texts and sends them in the background. For one event loop."""

    def __init__(self, settings: TextsSettings, sink: TextSink) -> None:
        """Raises ConfigError where `redact` names nothing that can be called."""
        self._settings, self._sink = settings, sink
        self._redact = _redaction(settings.redact)
        self._waiting: deque[StoredText] = deque()
        self._num_chars = 0
        self._task: asyncio.Task[None] | None = None
        self.num_dropped = 0
        """Queries for whose texts there was no room, or whose redaction failed."""

    def wants(self, key_id: str | None, opted_in: bool = False) -> bool:
        """Whether the texts of this key are kept; `opted_in`: the key itself was made so."""
        return self._settings.wants(key_id, opted_in)

    def keep(self, query: Query, answer: str, account: Answer) -> None:
        """Take charge of a finished query's texts; returns at once."""
        try:
            prompt = json.dumps(_prompt(query, self._redact), ensure_ascii=False)
            stored = StoredText(
                query_id=query.query_id,
                created_at_s=query.created_at_s,
                key_id=query.key_id,
                prompt=prompt,
                answer=self._redact(answer).replace("\0", "\ufffd"),  # no text of PostgreSQL has a zero in it
                model=account.model,
                adapter=account.adapter,
                adapter_version=account.adapter_version,
                escalated=account.escalated,
            )
        except Exception:  # code of the user's: a text that it did not redact is not kept
            self.num_dropped += 1
            _LOG.exception("ledger.texts.redact failed; the texts of query %s are not kept", query.query_id)
            return
        if len(self._waiting) >= _MAX_WAITING or self._num_chars + _chars(stored) > _MAX_CHARS:
            self.num_dropped += 1
            return
        self._waiting.append(stored)
        self._num_chars += _chars(stored)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def close(self) -> None:
        """Try once more to send what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            while self._waiting:
                await self._send_batch()
        except HeadraceError as error:
            _LOG.warning("The texts of %s queries are not kept: %s", len(self._waiting), error)

    async def _send(self) -> None:
        while self._waiting:
            try:
                await self._send_batch()
            except HeadraceError as error:  # of a ledger that has too much to do as well
                _LOG.warning("The texts of %s queries wait: %s", len(self._waiting), error)
                await asyncio.sleep(_PAUSE_S)

    async def _send_batch(self) -> None:
        batch: list[StoredText] = []
        num_chars = 0
        for stored in islice(self._waiting, _BATCH):
            num_chars += _chars(stored)
            if batch and num_chars > _BATCH_CHARS:
                break
            batch.append(stored)
        await self._sink.put_texts(batch)
        for _ in batch:
            self._num_chars -= _chars(self._waiting.popleft())


def _chars(stored: StoredText) -> int:
    return len(stored.prompt) + len(stored.answer)


def _prompt(query: Query, redact: Redact) -> object:
    if query.prompt is not None:
        return redact(query.prompt)
    return [{"role": message.role, "content": redact(message.content)} for message in query.messages]


def _redaction(name: str | None) -> Redact:
    """The function that the settings name; without one, texts stay as they are."""
    if name is None:
        return str
    try:
        found = named(name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"ledger.texts.redact is {name!r}, which cannot be imported ({error}).") from error
    if not callable(found):
        raise ConfigError(f"ledger.texts.redact is {name!r}, which is not a function.")
    redact: Redact = found
    return redact
