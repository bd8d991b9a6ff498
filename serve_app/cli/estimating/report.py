"""An estimate for people."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_WIDE_CHARS = 100
"""From this width on the table has all columns; a file or pipe has it."""
_NARROW = ("queries", "accepted", "risk", "95 % bound", "saved")


def show(found: dict[str, Any], console: Console) -> None:
    """A table with a line for each route, then the answer in a sentence, then what it cannot say."""
    columns = list(_cells(found["total"])) if console.width >= _WIDE_CHARS else list(_NARROW)
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("route", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, part in found["routes"].items():
        table.add_row(name, *(_cells(part)[column] for column in columns))
    table.add_section()
    table.add_row("all", *(_cells(found["total"])[column] for column in columns), style="bold")
    console.print(table)
    console.print(sentence(found["total"]), soft_wrap=True, highlight=False)
    for reason, count in found["refused"]["reasons"].items():
        console.print(f"Refused: {count} for {reason}.", style="dim", highlight=False, markup=False)
    for warning in found["warnings"]:
        console.print(f"Note: {warning}", style="yellow", soft_wrap=True, highlight=False, markup=False)


def sentence(total: dict[str, Any]) -> str:
    """The answer.

    >>> sentence({"saved_share": 0.62, "saved_share_95": (0.6, 0.64), "risk": 0.04, "risk_upper_95": 0.08,
    ...           "accepted_share": 0.7})
    'Saves 62.0% (95 %: 60.0% to 64.0%); of the 70.0% accepted, 4.0% differ from the large answer (95 % bound: 8.0%).'
    """
    if total["saved_share"] is None:
        return "Nothing was priced."
    low, high = total["saved_share_95"]
    saves = f"Saves {total['saved_share']:.1%} (95 %: {low:.1%} to {high:.1%})"
    if total["risk"] is None:
        return f"{saves}; {total['accepted_share']:.1%} accepted, at an unknown risk."
    differ = f"{total['risk']:.1%} differ from the large answer (95 % bound: {total['risk_upper_95']:.1%})"
    return f"{saves}; of the {total['accepted_share']:.1%} accepted, {differ}."


def _cells(part: dict[str, Any]) -> dict[str, str]:
    return {
        "queries": f"{part['queries']:,}",
        "accepted": _share(part["accepted_share"]),
        "compared": f"{part['compared']:,}",
        "differing": f"{part['differing']:,}",
        "risk": _share(part["risk"]),
        "95 % bound": _share(part["risk_upper_95"]),
        "now $": f"{part['cost_now_usd']:,.6f}",
        "Headrace $": f"{part['cost_usd']:,.6f}",
        "saved": _share(part["saved_share"]),
    }


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
