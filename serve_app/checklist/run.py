"""All checks, under a profile."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from serve_app.checklist.checks import Check, all_checks
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding, Item
from serve_app.core import HeadraceError

_LOG = logging.getLogger(__name__)


async def run(facts: Facts, checks: Iterable[Check] | None = None) -> list[Item]:
    """An item for each check, in their order. A check that cannot look fails, with its reason as the evidence.

    Raises ConfigError where checks of another package cannot be loaded.
    """
    return [await _item(check, facts) for check in (all_checks() if checks is None else checks)]


async def _item(check: Check, facts: Facts) -> Item:
    try:
        finding = _checked(await check.look(facts))
    except HeadraceError as error:
        finding = Finding.fail(f"It could not be looked at: {error}", "Mend that, and check again.")
    except Exception as error:  # one check that breaks must not hide the others
        _LOG.exception("The check %s broke.", check.id)
        finding = Finding.fail(
            f"The check itself broke ({type(error).__name__}: {error}).", "Report it to its authors."
        )
    if facts.profile == "demo":
        finding = _in_demo(check, finding)
    return Item(check.id, check.area, check.title, finding.status, finding.evidence, finding.fix)


def _checked(found: object) -> Finding:
    """Checks of other packages are not type-checked here. Raises TypeError."""
    if not isinstance(found, Finding):
        raise TypeError(f"it gave {found!r} in the place of a Finding")
    return found


def _in_demo(check: Check, finding: Finding) -> Finding:
    if check.in_demo == "warn" and finding.status == "fail":
        return Finding.warn(finding.evidence, finding.fix)
    if check.in_demo == "skip" and finding.status in ("fail", "warn"):
        return Finding.not_applicable(f"Not asked of a demonstration. {finding.evidence}")
    return finding


def passed(items: Sequence[Item]) -> bool:
    """Whether nothing failed."""
    return all(item.status != "fail" for item in items)
