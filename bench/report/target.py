"""What a target is: where its figure stands in a result file, what it is held against, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class NotThere(LookupError):
    """The result file has no such figure."""


class Reading(Protocol):
    """A figure of a result file. Raises NotThere where the file does not hold it."""

    @property
    def says(self) -> str:
        """Where it stands, for people."""

    def __call__(self, found: Any) -> Any:
        """The figure."""


@dataclass(frozen=True)
class At:
    """The figure at a path of keys."""

    path: tuple[str, ...]

    @property
    def says(self) -> str:
        return " › ".join(self.path)

    def __call__(self, found: Any) -> Any:
        for key in self.path:
            if not isinstance(found, Mapping) or found.get(key) is None:
                raise NotThere(self.says)
            found = found[key]
        return found


def at(*path: str) -> At:
    """The figure at these keys, outermost first."""
    return At(path)


@dataclass(frozen=True)
class Worked:
    """A figure made from others of the file."""

    says: str
    work: Callable[..., Any]
    of: tuple[At, ...]

    def __call__(self, found: Any) -> Any:
        return self.work(*(reading(found) for reading in self.of))


def worked(says: str, work: Callable[..., Any], *of: At) -> Worked:
    """`work` of these figures. It may raise NotThere too."""
    return Worked(says, work, of)


def named(says: str, reading: At) -> Worked:
    """A figure under a name for people."""
    return Worked(says, lambda figure: figure, (reading,))


class Unit(Enum):
    """How a figure is written."""

    SHARE = "share"
    POINTS = "points"
    TIMES = "times"
    MS = "ms"
    SECONDS = "s"
    RATE = "a second"
    TOKENS = "tokens/s"
    COUNT = "count"
    SCORE = "score"
    DIFFERENCE = "difference"
    HOURS = "hours"
    MIB = "MiB"
    YES = "yes"

    def text(self, value: float) -> str:
        """`value` with its unit."""
        return _WRITTEN[self](value)


_WRITTEN: dict[Unit, Callable[[float], str]] = {
    Unit.SHARE: lambda value: f"{100 * value:.1f} %",
    Unit.POINTS: lambda value: f"{100 * value:+.1f} points",
    Unit.TIMES: lambda value: f"{value:.2f} ×",
    Unit.MS: lambda value: f"{value:,.2f} ms" if value < 100 else f"{value:,.0f} ms",
    Unit.SECONDS: lambda value: f"{value:.2f} s" if value < 10 else f"{value:,.1f} s",
    Unit.RATE: lambda value: f"{value:,.1f} a second" if value < 100 else f"{value:,.0f} a second",
    Unit.TOKENS: lambda value: f"{value:,.0f} tokens/s",
    Unit.COUNT: lambda value: f"{value:,.0f}",
    Unit.SCORE: lambda value: f"{value:.3f}",
    Unit.DIFFERENCE: lambda value: f"{value:+.3f}",
    Unit.HOURS: lambda value: f"{value:.2f} h",
    Unit.MIB: lambda value: f"{value:,.1f} MiB",
    Unit.YES: lambda value: "yes" if value else "no",
}


@dataclass(frozen=True)
class Bound:
    """What a figure is held against: a number, or a peer's figure of the same run."""

    sign: str
    """≥, >, ≤, < or =."""
    value: float | Reading

    def allows(self, measured: float, value: float) -> bool:
        """Whether `measured` keeps the bound, its value being `value`."""
        return _HOLDS[self.sign](measured, value)

    @property
    def wants_more(self) -> bool | None:
        """Whether larger is better; None where only one value will do."""
        return {"≥": True, ">": True, "≤": False, "<": False}.get(self.sign)


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "≥": lambda measured, value: measured >= value,
    ">": lambda measured, value: measured > value,
    "≤": lambda measured, value: measured <= value,
    "<": lambda measured, value: measured < value,
    "=": lambda measured, value: measured == value,
}


def at_least(value: float | Reading) -> Bound:
    return Bound("≥", value)


def above(value: float | Reading) -> Bound:
    return Bound(">", value)


def at_most(value: float | Reading) -> Bound:
    return Bound("≤", value)


def below(value: float | Reading) -> Bound:
    return Bound("<", value)


def exactly(value: float | Reading) -> Bound:
    return Bound("=", value)


YES = exactly(1)
"""For figures that are true or false."""


@dataclass(frozen=True)
class Beside:
    """A figure of the same run that a reader wants next to the measured one: a peer, a percentile, a condition."""

    name: str
    reading: Reading
    unit: Unit


@dataclass(frozen=True)
class Target:
    """One number to reach."""

    name: str
    """Short and unique."""
    says: str
    """What is asked, in words."""
    results: str
    """Stem of the file in bench/results."""
    measured: Reading
    bound: Bound | None
    """None: the figure is asked for, with no bound."""
    unit: Unit
    interval: Reading | None = None
    """Its 95 % interval: two figures."""
    beside: tuple[Beside, ...] = ()
    how: str = ""
    """What a reader must know of how it was measured."""
    main: bool = False
    """One of the numbers by which the whole is judged; the others support them."""
    machine: At = field(default_factory=lambda: at("machine"))
    """Where the file says how and where the figure was taken."""


@dataclass(frozen=True)
class Section:
    """A capability and its targets."""

    title: str
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Unmeasured:
    """Asked for, and in no result file."""

    says: str
    why: str
