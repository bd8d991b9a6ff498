"""The table of checks. A check is an async function from facts to a finding; it changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

from serve_app.checklist.facts import Facts
from serve_app.checklist.item import AREAS, Area, Finding
from serve_app.core import ConfigError

ENTRY_POINT = "headrace.checks"
"""Group of entry points of other packages: each names a ChecksTable."""
InDemo = Literal["same", "warn", "skip"]
"""What a failure is under the profile `demo`: the same, a warning, or, like a warning, nothing that is asked there."""

Look = Callable[[Facts], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at."""

    id: str
    title: str
    look: Look
    in_demo: InDemo = "same"

    @property
    def area(self) -> Area:
        """The first part of the id."""
        area = self.id.split(".")[0]
        for known in AREAS:
            if area == known:
                return known
        raise ConfigError(f"The check {self.id!r} is of no known area; begin its id with one of {', '.join(AREAS)}.")


class ChecksTable:
    """Checks by id, in the order in which they were added."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, check_id: str, title: str, in_demo: InDemo = "same") -> Callable[[Look], Look]:
        """Decorate an async function `(Facts) -> Finding`.

        Raises ConfigError for an id that is taken or names no area.
        """

        def added(look: Look) -> Look:
            check = Check(check_id, title, look, in_demo)
            if check_id in self._checks:
                raise ConfigError(f"There are two checks {check_id!r}; give each its own id.")
            assert check.area
            self._checks[check_id] = check
            return look

        return added

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    def __len__(self) -> int:
        return len(self._checks)


CHECKS = ChecksTable()
"""The ones that Headrace brings; the modules of `areas` fill it."""


def all_checks() -> list[Check]:
    """Headrace's own by area, then those of other packages.

    Raises ConfigError for an entry point that is no table, and for an id that is taken.
    """
    from serve_app.checklist import areas

    assert areas
    checks = sorted(CHECKS, key=lambda check: AREAS.index(check.area))
    for entry in entry_points(group=ENTRY_POINT):
        try:
            table = entry.load()
        except Exception as error:  # a package of somebody else may raise anything
            raise ConfigError(
                f"The checks {entry.name!r} ({entry.value}) cannot be loaded ({type(error).__name__}: {error}); mend "
                "or uninstall that package."
            ) from error
        if not isinstance(table, ChecksTable):
            raise ConfigError(f"The checks {entry.name!r} ({entry.value}) are no serve_app.checklist.ChecksTable.")
        taken = {check.id for check in checks} & {check.id for check in table}
        if taken:
            raise ConfigError(
                f"The checks {entry.name!r} ({entry.value}) bring another {min(taken)!r}; give it an id of its own."
            )
        checks.extend(table)
    return checks
