"""Adapters that change under load."""

from typing import Any


def lifecycle(found: dict[str, Any], circumstances: str) -> str:
    """One paragraph."""
    wrong = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in found["wrong"].items())
    slowest_s = max((one["old_sent_after_s"] for one in found["convergence"]), default=0.0)
    return (
        f"**Adapters that change under load**: {found['changes']} changes of one name (added, canary, promoted, rolled "
        "back, promoted again, removed, added again) on two replicas\nof the real engine behind two gateways. "
        f"{found['answered']:,} answered, {found['failed']} failed, {found['absent']} got the 404 that was right while "
        f"the name was removed; {found['misversioned']} of another version than they say ({wrong}), by the log of "
        "changes, by what\neach version answers alone, and by the ledger. After a change was answered, the old version "
        f"was asked for during {slowest_s:g} s at most. {circumstances}."
    )
