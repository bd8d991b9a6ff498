"""Who answers in an ensemble, and what each of them is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from serve_app.config import EnsembleSettings
from serve_app.core import Call, ConfigError, Query
from serve_app.patterns.answerers import Node
from serve_app.patterns.trace import OpenAttempt, Trace

_SEED_STRIDE = 2**32
"""Between the seeds of two members: choices add less than this."""


@dataclass(frozen=True, slots=True)
class Member:
    """One answer that is asked for."""

    place: int
    """From 0, over all samples of all members."""
    node: Node
    adapter: str | None
    weight: float
    temperature: float | None = None
    """None: the query's own."""

    def open(self, query: Query, trace: Trace, choice_index: int) -> OpenAttempt:
        """Begin its attempt, which is billed from now on."""
        call = self._call(query, trace, choice_index)
        return trace.begin(self.node.name, self.node.model, call, choice_index, "member")

    def _call(self, query: Query, trace: Trace, choice_index: int) -> Call:
        sampling = query.sampling
        if self.temperature is not None:
            sampling = replace(sampling, temperature=self.temperature)
        if sampling.seed is not None and self.place:
            sampling = replace(sampling, seed=(sampling.seed + self.place * _SEED_STRIDE) % 2**63)
        return self.node.call(replace(query, sampling=sampling), trace, self.adapter, choice_index)


def members_of(settings: EnsembleSettings, specialists: Node, fallback: Node | None) -> tuple[Member, ...]:
    """All of them, in the order of the settings. Raises ConfigError where the graph has no large model for one."""
    return tuple(replace(one, place=place) for place, one in enumerate(_members(settings, specialists, fallback)))


def _members(settings: EnsembleSettings, specialists: Node, fallback: Node | None) -> Iterator[Member]:
    for index, member in enumerate(settings.members):
        node, adapter = specialists, None if member.model == "base" else member.model
        if member.model == "large":
            if fallback is None:
                raise ConfigError(
                    f"ensemble.members[{index}].model is 'large', and this graph has no large model: remove the "
                    f"member, or serve a graph that has one."
                )
            node, adapter = fallback, None
        for _ in range(member.samples):
            yield Member(0, node, adapter, member.weight, member.temperature)


def present(members: Sequence[Member], trace: Trace, choice_index: int) -> list[Member]:
    """Those whose adapter is there now; the account says of the others that they are gone."""
    found = []
    for member in members:
        if member.adapter is None or member.adapter in member.node.adapters.names:
            found.append(member)
        else:
            gone = f"adapter {member.adapter!r} of the ensemble is not served"
            trace.degraded("adapter_gone", gone, choice_index)
    return found
