"""Who gets a free row. Pure Python: no torch, no clock, no threads.

The waiting queue says whose turn it is; here is why a turn may pass:

    reserve     the last free rows are not given to an adapter that holds half the rows or more while another adapter
                was asked for lately: a flood of long answers leaves a row for a newcomer
    adapter     its matrices are not resident yet; others go on meanwhile, but only so many: then rows are no longer
                given to other adapters until it is resident or their rows have left and made room for it
    twin        a row with the same prompt and adapter is still prefilling: its keys and values will be reused
    ensemble    a member has not arrived or its adapter is not ready. If only rows are missing, nobody behind it gets
                one: else it would wait for as long as single requests keep coming
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from serve_app.core import ConfigError, HeadraceError
from serve_app.engine.ensembles import Ensembles
from serve_app.engine.packing import num_ahead
from serve_app.engine.request import Request, Row
from serve_app.engine.waiting import WaitingQueue

PATIENCE = 8
"""An adapter that is not ready lets this many admissions of other adapters pass, times the rows."""


class AdapterDesk(Protocol):
    """Where adapters become resident. Called with the lock of the scheduler's caller held."""

    def ready(self, version: str) -> bool:
        """Whether it is resident; if not, it will be loaded when there is room."""
        ...

    def hold(self, version: str) -> int:
        """Its adapter slot, which it keeps until as many releases; only when ready."""
        ...

    def release(self, version: str) -> None:
        """A row has left."""
        ...

    def error(self, version: str) -> HeadraceError | None:
        """Why no row can be given to it, if so."""
        ...


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much is taken on at once. Raises ConfigError where a step could not serve every row."""

    max_rows: int
    """Requests answered at the same time."""
    max_waiting: int
    """Requests that may wait once all rows are taken."""
    step_tokens: int
    """Tokens of one forward pass, at least `max_rows`: each decoding row takes one, prompts and drafts the rest."""
    twin_tokens: int = 16
    """Prompts of fewer tokens do not wait for a twin: they are sooner computed than reused."""

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise ConfigError(f"max_rows must be at least 1, not {self.max_rows}")
        if self.max_waiting < 0:
            raise ConfigError(f"max_waiting must be 0 or more, not {self.max_waiting}")
        if self.step_tokens < self.max_rows:
            raise ConfigError(f"step_tokens must be at least max_rows ({self.max_rows}), not {self.step_tokens}")


class Admission:
    """Decides; the scheduler keeps the books."""

    def __init__(self, limits: EngineLimits, adapters: AdapterDesk) -> None:
        self._limits = limits
        self._adapters = adapters
        self._num_reserved = max(1, limits.max_rows // 4)
        self._lately: deque[str | None] = deque(maxlen=4 * limits.max_rows)
        """Adapters of the latest requests."""
        self._not_ready: set[str] = set()
        """Found so in this step."""
        self._passed: dict[str, int] = {}
        """Waiting adapter -> admissions that went past it because it was not ready."""
        self._holding_back = False
        """In this step no adapter gets a row but those whose turn is before one that ran out of patience."""

    def asked_for(self, request: Request) -> None:
        """A request is queued."""
        self._lately.append(request.adapter)

    def begin(self, waiting: WaitingQueue) -> None:
        """A new step: look again at what was not ready."""
        self._not_ready.clear()
        self._holding_back = False
        self._passed = {adapter: self._passed[adapter] for adapter in waiting.adapters if adapter in self._passed}

    def next(self, waiting: WaitingQueue, ensembles: Ensembles, rows: Collection[Row]) -> tuple[Request, ...]:
        """Whose turn it is, to be given rows together: one request or an ensemble. Empty: nobody can have one now."""
        chosen = self._choose(waiting, ensembles, rows)
        adapters = {request.adapter for request in chosen if request.adapter is not None}
        for adapter in adapters:
            self._passed.pop(adapter, None)
        if adapters:  # the bare base takes no room from anyone
            for adapter in self._not_ready:
                self._passed[adapter] = self._passed.get(adapter, 0) + 1
        return chosen

    def _choose(self, waiting: WaitingQueue, ensembles: Ensembles, rows: Collection[Row]) -> tuple[Request, ...]:
        num_free = self._limits.max_rows - len(rows)
        if not num_free:
            return ()
        held = Counter(row.request.adapter for row in rows)

        def open_to(adapter: str | None) -> bool:
            return not self._reserved(adapter, held, num_free) and self._ready(adapter, held)

        for request in waiting.in_turn(rows, open_to):
            if request.ensemble is None:
                if not self._has_twin(request, rows):
                    return (request,)
                continue
            members = ensembles.members(request.ensemble)
            # All are asked, so that all loads start. If all are ready none was lost meanwhile: only a load takes room.
            open_members = [member for member in members if open_to(member.adapter)]
            if members and len(open_members) == len(members):
                return members if len(members) <= num_free else ()
        return ()

    def _reserved(self, adapter: str | None, held: Counter[str | None], num_free: int) -> bool:
        """Whether the free rows are kept from this adapter."""
        if num_free > self._num_reserved or 2 * held[adapter] < self._limits.max_rows:
            return False
        return any(other != adapter for other in self._lately)

    def _ready(self, adapter: str | None, held: Counter[str | None]) -> bool:
        """Whether a row may be given to it as far as adapters go; asks for a load if need be."""
        if adapter is None:
            return True
        if self._holding_back or adapter in self._not_ready:
            return False
        if self._adapters.ready(adapter):
            return True
        self._not_ready.add(adapter)
        if self._passed.get(adapter, 0) >= PATIENCE * self._limits.max_rows:
            if held.total() > held[None]:
                self._holding_back = True
            else:  # no adapter is held, so if room was what it lacked, this call to `ready` has found it
                self._passed[adapter] = 0
        return False

    def _has_twin(self, request: Request, rows: Iterable[Row]) -> bool:
        """Whether a row is about to have this request's prompt in its cache slot, all but the last token."""
        return len(request.prompt_ids) >= self._limits.twin_tokens and any(
            num_ahead(row) > 1
            and row.request.adapter == request.adapter
            and row.request.prompt_ids == request.prompt_ids
            for row in rows
        )
