"""All that a gateway asks of the ledger, in memory."""

from collections.abc import Sequence
from typing import Any

from serve_app.budgets import Amount, Ask, Grant
from serve_app.budgets.protocol import granted
from serve_app.canary import EvidenceRecord
from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, LedgerError
from serve_app.keys import KeySnapshot
from serve_app.ledger.public import stored_account
from serve_app.ledger.texts import StoredText


class MemoryLedger:
    """A `gateway.LedgerNode` in a dictionary; `broken` as if its disk were full."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.texts: list[StoredText] = []
        self.evidence: list[EvidenceRecord] = []
        self.snapshot = KeySnapshot()
        self.broken = False

    async def record(self, answers: Sequence[Answer]) -> None:
        if self.broken:
            raise LedgerError("The disk is full; make room.")
        self.answers |= {answer.query_id: answer for answer in answers}

    async def query(self, query_id: str) -> dict[str, Any] | None:
        answer = self.answers.get(query_id)
        return None if answer is None else stored_account(answer)

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        answers = [answer for answer in self.answers.values() if key_id is None or answer.key_id == key_id]
        return {"since": since_s, "until": until_s, "group_by": list(group_by), "queries": len(answers)}

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> list[dict[str, Any]]:
        found = [answer for answer in self.answers.values() if key_id is None or answer.key_id == key_id]
        return [stored_account(answer) for answer in reversed(found)][:limit]

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """The only gateway there is gets what it lacks, as far as the limit goes."""
        if self.broken:
            raise LedgerError("The disk is full; make room.")
        return tuple(granted(ask, Amount()) for ask in asks)

    async def keys(self) -> KeySnapshot:
        return self.snapshot

    async def keep_prices(self, prices: PricesSettings) -> None:
        pass

    async def reclaim(self, gateway: str) -> int:
        return 0

    async def adapters_evidence(self, records: Sequence[EvidenceRecord]) -> None:
        self.evidence.extend(records)

    async def put_texts(self, stored: Sequence[StoredText]) -> None:
        self.texts.extend(stored)
