"""The place that decides: opens and closes trials, keeps their evidence, asks the rule, changes the registry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from serve_app.adapters.registry import lifecycle
from serve_app.adapters.registry import rows as registry_rows
from serve_app.adapters.registry.lifecycle import Moment
from serve_app.canary import rows
from serve_app.canary.evidence import EvidenceRecord, TrialEvidence
from serve_app.canary.rows import StoredTrial
from serve_app.canary.rule import Verdict, verdict
from serve_app.config.canary import CanarySettings
from serve_app.core import LedgerError, RequestError
from serve_app.store import Store
from serve_app.store.faults import store_faults
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_LOG = logging.getLogger(__name__)

ACTOR = "canary"
_EVERY_S = 1.0
_NUM_EARLIER = 5
_STATES = ("undecided", "promote", "rollback")


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial that runs, and what is to be said of it."""

    trial: StoredTrial
    evidence: TrialEvidence
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as a closed trial keeps it."""
        arms = {"canary": self.evidence.canary.model_dump(), "live": self.evidence.live.model_dump()}
        return self.verdict.as_json() | {"queries": arms}


class CanaryTrials:
    """Over the registry's store, in the one process that writes it. For one event loop.

    A decision and the end of its trial are one transaction, which first sees that canary and live version are still
    the ones that were compared: a decision is taken once, and none is taken over somebody's head. All state is in the
    database, so a new process goes on where the one before was.
    """

    def __init__(self, store: Store, settings: CanarySettings, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._settings, self._clock = store, settings, clock
        self._judged: tuple[Judged, ...] = ()
        self._decisions: Counter[tuple[str, str]] = Counter()
        """Adapter and what was decided -> how often, since the start."""

    async def take(self, records: Sequence[EvidenceRecord]) -> None:
        """Keep gateways' totals; returns after commit. Raises LedgerError."""
        with store_faults():
            await self._store.write(lambda connection: rows.put_evidence(connection, records))

    async def judge(self) -> None:
        """Open and close trials as the registry has it, and do what the rule says. Raises LedgerError."""
        with store_faults():
            now, trials = await self._store.read(
                lambda connection: (rows.tried_now(connection), rows.running(connection))
            )
            compared = frozenset(trial.versions for trial in trials)
            if now != compared:
                trials = await self._store.write(self._follow)
            self._judged = await self._store.read(
                lambda connection: tuple(self._look(connection, one) for one in trials)
            )
            for judged in self._judged:
                await self._act(judged)

    async def run(self) -> None:
        """Judge every second, until cancelled; the database may be away for a while."""
        while True:
            try:
                await self.judge()
            except LedgerError as error:
                _LOG.warning("Canaries are not judged now: %s", error)
            await asyncio.sleep(_EVERY_S)

    async def report(self, name: str) -> dict[str, Any]:
        """Plain JSON: the trial that runs, or None, and the latest ones before it. Raises LedgerError."""

        def work(connection: Connection) -> dict[str, Any]:
            trials = rows.trials_of(connection, name, _NUM_EARLIER + 1)
            shown = [self._shown(connection, trial) for trial in trials]
            return {
                "automatic": self._settings.automatic,
                "running": next((one for one in shown if one["ended_at_s"] is None), None),
                "earlier": [one for one in shown if one["ended_at_s"] is not None][:_NUM_EARLIER],
            }

        with store_faults():
            return await self._store.read(work)

    def readings(self) -> Iterator[Reading]:
        """The trials that run as metrics, as they were judged last; and what was decided."""
        for judged in self._judged:
            name, said = judged.trial.versions.name, judged.verdict
            for state in _STATES:
                yield Reading(its.CANARY_STATE, float((said.decision or "undecided") == state), (name, state))
            yield Reading(its.CANARY_AS_GOOD, said.log_as_good, (name,))
            low, high = said.quality_bounds
            for bound, value in (("lower", low), ("upper", high)):
                yield Reading(its.CANARY_QUALITY, value, (name, bound))
            for one in said.findings:
                yield Reading(its.CANARY_PAIRS, one.num_pairs, (name, one.subject))
                yield Reading(its.CANARY_WORSE, one.log_worse, (name, one.subject))
        for (name, decision), number in self._decisions.items():
            yield Reading(its.CANARY_DECISIONS, number, (name, decision))

    def _follow(self, connection: Connection) -> tuple[StoredTrial, ...]:
        now, at_s, running = rows.tried_now(connection), self._clock(), rows.running(connection)
        revision = registry_rows.revision(connection)
        for trial in running:
            if trial.versions not in now:
                rows.end(connection, trial, "others", at_s, revision, self._look(connection, trial).as_json())
        for versions in now - {trial.versions for trial in running}:
            rows.begin(connection, versions, at_s)
        return rows.running(connection)

    def _look(self, connection: Connection, trial: StoredTrial) -> Judged:
        evidence = rows.evidence_of(connection, trial)
        age_h = (self._clock() - trial.began_at_s) / 3600
        return Judged(trial, evidence, verdict(evidence, self._settings, age_h))

    async def _act(self, judged: Judged) -> None:
        decision, settings = judged.verdict.decision, self._settings
        wanted = {"promote": settings.promotes, "rollback": settings.rolls_back, None: False}[decision]
        if decision is None or not wanted:
            return
        versions = judged.trial.versions
        try:
            done = await self._store.write(lambda connection: self._decide(connection, judged))
        except RequestError as error:
            _LOG.error("The canary %s of %r cannot be decided on: %s", versions.canary, versions.name, error)
            return
        if done:
            self._decisions[versions.name, decision] += 1
            _LOG.warning(
                "Canary %s of %r: %s (%s)", versions.canary, versions.name, decision, "; ".join(judged.verdict.reasons)
            )

    def _decide(self, connection: Connection, judged: Judged) -> bool:
        """Whether there was still something to decide."""
        trial, said = judged.trial, judged.verdict
        name, canary = trial.versions.name, trial.versions.canary
        moment = Moment(registry_rows.locked_revision(connection) + 1, self._clock(), ACTOR)
        adapter = registry_rows.read(connection, name)[0]
        if trial.versions not in rows.tried_now(connection) or trial not in rows.running(connection):
            return False
        detail = "; ".join(said.reasons)
        if said.decision == "promote":
            step = lifecycle.promote(adapter, canary, moment, detail)
        else:
            step = lifecycle.rollback(adapter, moment, detail, canary)
        assert step is not None, "a canary can always be promoted or withdrawn"
        registry_rows.write(connection, adapter, step)
        rows.end(connection, trial, str(said.decision), moment.at_s, moment.revision, judged.as_json())
        return True

    def _shown(self, connection: Connection, trial: StoredTrial) -> dict[str, Any]:
        said = trial.verdict if trial.ended_at_s is not None else self._look(connection, trial).as_json()
        return {
            "canary": trial.versions.canary,
            "live": trial.versions.live,
            "began_at_s": trial.began_at_s,
            "ended_at_s": trial.ended_at_s,
            "ended_by": trial.ended_by,
            "verdict": said,
        }
