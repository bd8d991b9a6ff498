"""Who looks on while a cascade decides: audits and drift where a client is answered; nobody behind its answer."""

from typing import Protocol

from serve_app.confidence import Decision, Evidence
from serve_app.core import Query
from serve_app.patterns.trace import OpenAttempt, Trace


class Observer(Protocol):
    """Called in the query's own task: returns at once and raises nothing."""

    def decided(self, evidence: Evidence, attempt: OpenAttempt, decision: Decision) -> None:
        """The rule accepted or escalated a draft."""
        ...

    def accepted(self, decision: Decision, query: Query, trace: Trace, text: str, choice_index: int) -> None:
        """A small answer was accepted, by this decision, and has been sent whole."""
        ...


class Unobserved:
    """Nobody looks on."""

    def decided(self, evidence: Evidence, attempt: OpenAttempt, decision: Decision) -> None:
        """Nothing is noted."""

    def accepted(self, decision: Decision, query: Query, trace: Trace, text: str, choice_index: int) -> None:
        """Nothing is noted."""
