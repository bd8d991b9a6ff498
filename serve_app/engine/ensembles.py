"""Which waiting ensembles have all their members. Pure Python; not thread-safe (its caller holds a lock)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from serve_app.core import EngineError
from serve_app.engine.request import Ensemble, Request, Row


@dataclass(slots=True)
class _Gathering:
    ensemble: Ensemble
    num_arrived: int = 0
    """Members that were queued, those that left again included."""
    waiting: dict[str, Request] = field(default_factory=dict)
    """By request id, oldest first."""


class Ensembles:
    """The ensembles that wait, each forgotten when its last waiting member leaves.

    So members that come one by one and leave again before all have come make the rest wait for as many more: where
    that can be, give all members to one call of `Scheduler.add`.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._gatherings: dict[str, _Gathering] = {}

    def add(self, request: Request, rows: Iterable[Row]) -> None:
        """A request is queued; nothing to do if it is on its own. Raises EngineError if its ensemble cannot take it."""
        ensemble = request.ensemble
        if ensemble is None:
            return
        if not 1 <= ensemble.size <= self._max_rows:
            raise EngineError(
                f"an ensemble of {ensemble.size} does not fit into {self._max_rows} rows; "
                f"ask for fewer members or raise max_rows"
            )
        answered = {row.request.ensemble.ensemble_id for row in rows if row.request.ensemble is not None}
        if ensemble.ensemble_id in answered:
            raise EngineError(f"ensemble {ensemble.ensemble_id!r} is already being answered; give each its own id")
        gathering = self._gatherings.get(ensemble.ensemble_id, _Gathering(ensemble))
        if gathering.ensemble != ensemble or gathering.num_arrived >= ensemble.size:
            raise EngineError(
                f"ensemble {ensemble.ensemble_id!r} has {gathering.num_arrived} of {gathering.ensemble.size} members "
                f"and cannot take one more that names {ensemble.size}; give each ensemble its own id"
            )
        self._gatherings[ensemble.ensemble_id] = gathering
        gathering.num_arrived += 1
        gathering.waiting[request.request_id] = request

    def leave(self, request: Request) -> None:
        """A request does not wait any more."""
        if request.ensemble is None:
            return
        gathering = self._gatherings[request.ensemble.ensemble_id]
        del gathering.waiting[request.request_id]
        if not gathering.waiting:
            del self._gatherings[request.ensemble.ensemble_id]

    def members(self, ensemble: Ensemble) -> tuple[Request, ...]:
        """All that wait, once all have arrived: some may have left again. Empty before that."""
        gathering = self._gatherings[ensemble.ensemble_id]
        return tuple(gathering.waiting.values()) if gathering.num_arrived == ensemble.size else ()

    @property
    def num_waiting(self) -> int:
        """Members that wait, of all ensembles."""
        return sum(len(gathering.waiting) for gathering in self._gatherings.values())
