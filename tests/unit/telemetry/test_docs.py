"""The page about observability names every metric, with its kind, labels and meaning."""

from pathlib import Path

from serve_app.telemetry.instruments import ALL


def table() -> str:
    """All metrics as the page shows them."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for one in ALL:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        rows.append(f"| `{one.full_name}` | {one.kind} | {labels} | {one.help} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_metrics_is_current(repo: Path) -> None:
    page = (repo / "docs" / "observability.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- metrics -->\n")[2].partition("<!-- /metrics -->")[0]
    assert shown == table(), "replace the table between the comments by what `table()` gives"
