"""The ledger's figures as a table for a terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from serve_app.cli.terminal import WIDE_CHARS

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = {
    "queries": "queries",
    "lost": "lost",
    "attempts": "attempts",
    "prompt_tokens": "prompt\ntokens",
    "cached_tokens": "cached\ntokens",
    "completion_tokens": "new\ntokens",
    "cost_usd": "cost $",
    "always_large_usd": "always\nlarge $",
    "saved_usd": "saved $",
    "saved_share": "saved",
    "escalation_rate": "escalated",
    "cache_hit_rate": "from\ncache",
    "ms.p50": "p50\nms",
    "ms.p95": "p95\nms",
    "ms.p99": "p99\nms",
    "first_token_ms.p50": "first\np50 ms",
    "first_token_ms.p99": "first\np99 ms",
    "busy_s": "busy s",
}
_NARROW = ("queries", "cost_usd", "always_large_usd", "saved_share", "escalation_rate")
_USUAL = (*_NARROW[:3], "saved_usd", *_NARROW[3:], "cache_hit_rate", "ms.p50", "ms.p95", "ms.p99")
_WIDTHS = ((200, tuple(_COLUMNS)), (WIDE_CHARS, _USUAL), (0, _NARROW))
"""From so many characters on, these columns."""


def table(stats: dict[str, Any], keys: tuple[str, ...], chars: int) -> "Table":
    """Groups, then the total. Figures are never cut; where it is tight, names wrap."""
    from rich.box import SIMPLE
    from rich.table import Table

    columns = next(columns for width, columns in _WIDTHS if chars >= width)
    made = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for key in keys or ("",):
        made.add_column(key, overflow="fold")
    for column in columns:
        made.add_column(_COLUMNS[column], justify="right", no_wrap=True)
    for group in stats["groups"]:
        made.add_row(*(_name(key, group[key]) for key in keys), *(_cell(column, group) for column in columns))
    made.add_section()
    totals = (_cell(column, stats["totals"]) for column in columns)
    made.add_row("total", *[""] * (len(keys) - 1), *totals, style="bold")
    return made


def notes(stats: dict[str, Any], audits: dict[str, Any]) -> Iterator[str]:
    """What the figures rest on, a sentence or two each."""
    totals = stats["totals"]
    if totals["saved_usd"]:
        levers = ", ".join(f"{lever} {usd:,.6f} $" for lever, usd in totals["saved_by"].items() if usd)
        yield f"Saved by: {levers}."
    if totals["lost"]:
        yield f"Lost: {totals['lost']:,} queries were begun by a gateway that died; what they used is not known."
    versions = ", ".join("not priced" if version is None else version for version in stats["price_versions"]) or "none"
    basis = stats["always_large_basis"]
    yield (
        f"Price versions: {versions}. Always large: measured for {basis['measured']:,} queries, "
        f"estimated from the tokens of the answer given for {basis['estimated']:,}."
    )
    if audits["measured_over_estimated"] is not None:
        yield (
            f"Of {audits['audited']:,} audited queries the large model cost {audits['measured_usd']:,.6f} $, which is "
            f"{audits['measured_over_estimated']:.1%} of the estimate.".replace("%", " %")
        )


def _name(key: str, value: Any) -> str:
    """A group's name; an hour by its start.

    >>> _name("hour", 1767225600), _name("route", None), _name("route", "legal")
    ('2026-01-01 00:00', '–', 'legal')
    """
    if value is None:
        return "–"
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}" if key == "hour" else str(value)


def _cell(column: str, figures: dict[str, Any]) -> str:
    """One figure as text: money to the nano-dollar's sixth decimal, shares in percent.

    >>> figures = {"cost_usd": 1.5e-05, "saved_share": 0.612, "queries": 12000, "ms": {"p50": None, "p99": 1234.5}}
    >>> [_cell(column, figures) for column in ("cost_usd", "saved_share", "queries", "ms.p50", "ms.p99")]
    ['0.000015', '61.2 %', '12,000', '–', '1,234']
    """
    outer, _, inner = column.partition(".")
    value = figures[outer][inner] if inner else figures[outer]
    if value is None:
        return "–"
    if inner:
        return f"{value:,.0f}"
    if column.endswith("_usd"):
        return f"{value:,.6f}"
    if column.endswith(("_share", "_rate")):
        return f"{value:.1%}".replace("%", " %")
    return f"{value:,.1f}" if column == "busy_s" else f"{value:,}"
