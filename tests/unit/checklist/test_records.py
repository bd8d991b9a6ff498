"""The folder of records: none replaces another."""

import json
from pathlib import Path

import pytest

from serve_app.checklist.records import Records
from serve_app.core import DataError


def test_two_of_one_second_are_two(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    files = [records.write("backup", {"number": number}, at_s=1_700_000_000.0 + number / 10) for number in range(3)]
    assert len({*files}) == 3
    latest = records.latest("backup")
    assert latest is not None
    assert latest.figures == {"number": 2}
    assert records.latest("chaos") is None


@pytest.mark.parametrize("at_s", [-1.0, 1.7e12, float("nan")])
def test_a_time_that_has_not_been_is_no_record(tmp_path: Path, at_s: float) -> None:
    records = Records(tmp_path)
    file = records.write("chaos", {"missing": 0})
    file.write_text(json.dumps({"kind": "chaos", "at_s": at_s, "figures": {}}))
    with pytest.raises(DataError, match="no time that has been"):
        records.latest("chaos")
