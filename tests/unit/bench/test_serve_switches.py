"""The table of docs/serve-switches.md is made from the result file, and each variant says what it changes."""

from pathlib import Path
from typing import Any

from bench.serve_switches import END, PAGE, START, VARIANTS, table, write_page
from serve_app.deployments.switches import every_node

ROW = {
    "load_1min": 1.5,
    "seconds": 2.0,
    "p50_ms": 2.04,
    "p99_ms": 5.0,
    "requests_per_s": 900,
    "p99_at_16_ms": 30.2,
    "cpu_ms": 1.25,
    "refused": 0,
    "stream_ms": 12.0,
    "word_ms": 0.06,
    "stop_s": 3.1,
}
FOUND: dict[str, Any] = {
    "machine": {"command": "python -m x", "cores": 2, "processor": "P", "versions": {"ray": "2.60.0"}},
    "rows": {"as shipped": ROW, "few places": ROW | {"refused": 7, "load_1min": 3.0}},
}


def test_the_table_has_a_line_per_variant_and_says_under_which_load_it_was_taken() -> None:
    written = table(FOUND)
    assert "Load of the machine 1.5 to 3," in written
    assert "| as shipped | 2.0 ms | 5.0 ms | 900 | 30 ms | 1.2 ms | 12.0 ms | 3.1 s | 1.5 |" in written
    assert "| 900 (7 refused) |" in written


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write_page(FOUND, page)
    write_page(FOUND, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("as shipped") == 1


def test_the_page_has_the_marks_once_and_tells_every_switch() -> None:
    text = PAGE.read_text()
    assert (text.count(START), text.count(END)) == (1, 1)
    assert not [name for name in every_node() if name not in text]


def test_every_variant_but_the_shipped_one_changes_something() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    assert [variant.name for variant in VARIANTS if not variant.switches and not variant.gateway] == ["as shipped"]
