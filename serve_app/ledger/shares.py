"""A bill shared over groups of queries: every nano-dollar goes to somebody, and none twice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from serve_app.ledger.bill_rows import GroupUse


class Shareable(Protocol):
    """What a deployment cost."""

    @property
    def deployment(self) -> str: ...
    @property
    def by_tokens(self) -> bool: ...
    @property
    def attributed_nusd(self) -> int: ...
    @property
    def idle_nusd(self) -> int: ...


@dataclass(slots=True)
class Share:
    """What one group of queries owes, in nano-dollars."""

    name: str | None
    attributed_nusd: int = 0
    idle_nusd: int = 0
    always_large_nusd: int = 0


def shared(total_nusd: int, weights: Sequence[int]) -> list[int]:
    """Whole parts in proportion to the weights that add up to the total; what is left over goes where most is cut off.

    >>> shared(100, [1, 1, 1]), shared(7, [5, 0, 2]), shared(-5, [1, 1])
    ([34, 33, 33], [5, 0, 2], [-2, -3])
    >>> shared(5, [0, 0])           # used by nobody
    [0, 0]
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total_nusd * weight // whole for weight in weights]
    most_cut_off = sorted(range(len(weights)), key=lambda index: -(total_nusd * weights[index] % whole))
    for index in most_cut_off[: total_nusd - sum(parts)]:
        parts[index] += 1
    return parts


def shares_of(lines: Iterable[Shareable], always_large_nusd: int, groups: Sequence[GroupUse]) -> list[Share]:
    """Attributed cost goes by busy time (by the accounts' costs where a deployment is billed by tokens), idle cost by
    the tokens that the deployment processed, always-large by the tokens of the answers.

    What no query used, such as an idle model or a gateway, is shared by the tokens of the answers as well.
    The dearest group comes first.
    """
    names = list(dict.fromkeys(use.group for use in groups))
    shares = {name: Share(name) for name in names}
    given = [sum(use.given_tokens for use in groups if use.group == name) for name in names]
    for line in lines:
        own = {use.group: use for use in groups if use.node == line.deployment}
        uses = [own.get(name, GroupUse(name, line.deployment, 0, 0, 0, 0)) for name in names]
        used = [use.cost_nusd if line.by_tokens else use.busy_ns for use in uses]
        processed = [use.tokens for use in uses]
        attributed = shared(line.attributed_nusd, used)
        idle = shared(line.idle_nusd, processed if any(processed) else given)
        for name, attributed_nusd, idle_nusd in zip(names, attributed, idle, strict=True):
            shares[name].attributed_nusd += attributed_nusd
            shares[name].idle_nusd += idle_nusd
    for name, nusd in zip(names, shared(always_large_nusd, given), strict=True):
        shares[name].always_large_nusd = nusd
    return sorted(shares.values(), key=lambda share: (-share.attributed_nusd - share.idle_nusd, str(share.name)))
