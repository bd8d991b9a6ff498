"""When requests are sent: offsets in seconds after the start, made before it, so that no answer can delay one."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Offsets in seconds, ascending, all below `seconds`: the length of the window, over which rates are counted."""

    offsets_s: tuple[float, ...]
    seconds: float

    def __post_init__(self) -> None:
        if self.seconds <= 0 or any(not 0 <= offset <= self.seconds for offset in self.offsets_s):
            raise ValueError(f"all arrivals have to be within the {self.seconds} s of the schedule, which are above 0")


def constant(rate: float, seconds: float) -> Schedule:
    """So many a second, evenly spaced.

    >>> constant(4, 1).offsets_s
    (0.0, 0.25, 0.5, 0.75)
    """
    return Schedule(tuple(number / rate for number in range(round(rate * seconds))), seconds)


def poisson(rate: float, seconds: float, seed: int) -> Schedule:
    """So many a second on average, each by chance and apart from the others."""
    return steps([(rate, seconds)], seed)


def steps(parts: Sequence[tuple[float, float]], seed: int | None = None) -> Schedule:
    """One part after another, each (rate, seconds); a rate of 0 is a pause. Poisson with a seed, else evenly spaced.

    >>> steps([(2, 1), (0, 1), (4, 0.5)])
    Schedule(offsets_s=(0.0, 0.5, 2.0, 2.25), seconds=2.5)
    """
    chance = None if seed is None else random.Random(seed)
    offsets: list[float] = []
    begin_s = 0.0
    for rate, seconds in parts:
        if chance is None:
            offsets += [begin_s + offset for offset in (constant(rate, seconds).offsets_s if rate else ())]
        elif rate:
            due_s = begin_s
            while (due_s := due_s + chance.expovariate(rate)) < begin_s + seconds:
                offsets.append(due_s)
        begin_s += seconds
    return Schedule(tuple(offsets), begin_s)


def recorded(times_s: Iterable[float]) -> Schedule:
    """As in a trace: the times of its requests in seconds, of any clock and in any order; the first is sent at once.

    >>> recorded([1000.5, 1000.0]).offsets_s
    (0.0, 0.5)
    """
    times = sorted(times_s)
    if not times:
        raise ValueError("the trace has no request")
    return Schedule(tuple(time_s - times[0] for time_s in times), max(times[-1] - times[0], 1.0))
