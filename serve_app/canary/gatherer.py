"""A gateway's side: which trials run, what became of queries of both versions, and the totals on their way out."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_app.adapters.registry.records import RegistrySnapshot, ServedAdapter
from serve_app.canary.evidence import EvidenceRecord, EvidenceSink, Outcome, TrialEvidence
from serve_app.core import HeadraceError

_LOG = logging.getLogger(__name__)

Kind = Literal["answers", "neighbours"]

_MAX_WAITING = 8
_MAX_CONVERSATIONS = 100_000


@dataclass(slots=True)
class FollowedTrial:
    """One trial as this gateway sees it."""

    name: str
    canary: str
    live: str
    since_revision: int
    evidence: TrialEvidence = field(default_factory=TrialEvidence)
    sequence: int = 0
    sent: int = 0
    """The highest sequence that the ledger has confirmed."""
    waiting: dict[str, deque[Outcome]] = field(default_factory=dict)
    """Version -> its latest queries that have no neighbour yet."""
    known: dict[str, set[int]] = field(default_factory=dict)
    """For each of the two kinds of pairs: conversations that were counted."""

    def is_of(self, adapter: ServedAdapter) -> bool:
        """Whether these are the adapter's versions now."""
        return (self.canary, self.live) == (adapter.canary, adapter.live)

    def is_new(self, conversation: int, kind: Kind) -> bool:
        """Whether the conversation is not counted yet for this kind of pairs; from now on it is.

        A version answers all of a conversation, and all queries that begin like it, so that one client's repetitions
        would otherwise count as that many independent observations of the version.
        """
        known = self.known.setdefault(kind, set())
        if conversation in known or len(known) >= _MAX_CONVERSATIONS:
            return False
        known.add(conversation)
        return True

    def record(self, gateway: str) -> EvidenceRecord:
        """The totals as they are now."""
        totals = self.evidence.model_dump(mode="json")
        return EvidenceRecord(gateway, self.name, self.canary, self.live, self.since_revision, self.sequence, totals)


class Gatherer:
    """Adds up evidence and sends it every second. For one event loop.

    While the ledger is away the totals stay here; what a gateway that is killed had not sent is lost, and nothing else.
    """

    def __init__(self, gateway: str, sink: EvidenceSink, every_s: float = 1.0) -> None:
        """`gateway`: an id that no other process has, and no later one."""
        self._gateway, self._sink, self._every_s = gateway, sink, every_s
        self._trials: dict[str, FollowedTrial] = {}
        self._ended: list[FollowedTrial] = []
        """Not of the registry any more, with something that was not sent."""

    def follow(self, snapshot: RegistrySnapshot) -> None:
        """Take the registry as it is now: trials begin and end."""
        now = {one.name: one for one in snapshot.adapters if one.canary is not None and one.live is not None}
        for name, trial in tuple(self._trials.items()):
            if name not in now or not trial.is_of(now[name]):
                del self._trials[name]
                if trial.sequence > trial.sent:
                    self._ended.append(trial)
        for name, one in now.items():
            if name not in self._trials and one.canary is not None and one.live is not None:
                self._trials[name] = FollowedTrial(name, one.canary, one.live, snapshot.revision)

    def trial(self, name: str) -> FollowedTrial | None:
        """The adapter's trial that runs."""
        return self._trials.get(name)

    def trials_of(self, versions: Mapping[str, str]) -> tuple[FollowedTrial, ...]:
        """The trials that a query with these versions belongs to."""
        if not self._trials:
            return ()
        found = (self._trials.get(name) for name in versions)
        return tuple(one for one in found if one is not None and versions[one.name] in (one.canary, one.live))

    def ended(self, trial: FollowedTrial, version: str, conversation: int, outcome: Outcome) -> None:
        """A query of one of the trial's versions ended. Of a conversation the first one counts."""
        if version not in (trial.canary, trial.live) or not trial.is_new(conversation, "neighbours"):
            return
        other = trial.live if version == trial.canary else trial.canary
        neighbours = trial.waiting.get(other)
        if not neighbours:
            trial.waiting.setdefault(version, deque(maxlen=_MAX_WAITING)).append(outcome)
            return
        neighbour = neighbours.pop()
        pair = (outcome, neighbour) if version == trial.canary else (neighbour, outcome)
        trial.evidence.add_neighbours(*pair)
        trial.sequence += 1

    def compared(self, trial: FollowedTrial, canary_score: float, live_score: float) -> None:
        """An answer of the canary and one of the live version were scored against the large model's."""
        trial.evidence.add_scores(canary_score, live_score)
        trial.sequence += 1

    def agreed(self, trial: FollowedTrial, score: float) -> None:
        """The two answers were compared with each other: there is no large model."""
        trial.evidence.add_agreement(score)
        trial.sequence += 1

    async def run(self) -> None:
        """Send what is new, until cancelled."""
        while True:
            try:
                await self.send()
            except HeadraceError as error:
                _LOG.info("Evidence about canaries waits: %s", error)
            await asyncio.sleep(self._every_s)

    async def send(self) -> None:
        """Send the totals that have changed. Raises LedgerError; they are sent again then."""
        changed = [one for one in (*self._trials.values(), *self._ended) if one.sequence > one.sent]
        if not changed:
            return
        records = [one.record(self._gateway) for one in changed]
        await self._sink.adapters_evidence(records)
        for trial, record in zip(changed, records, strict=True):
            trial.sent = record.sequence
        self._ended = [one for one in self._ended if one.sequence > one.sent]
