"""The folder of records: none replaces another."""

from pathlib import Path

from serve_app.checklist.records import Records


def test_two_of_one_second_are_two(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    files = [records.write("backup", {"number": number}, at_s=1_800_000_000.0 + number / 10) for number in range(3)]
    assert len({*files}) == 3
    latest = records.latest("backup")
    assert latest is not None
    assert latest.figures == {"number": 2}
    assert records.latest("chaos") is None
