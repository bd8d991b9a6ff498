"""bench.domain: what it counts, and that it says why it is skipped."""

import json
import sys
from pathlib import Path

import pytest

from bench import domain
from bench.domain import by_label
from serve_app.router import Row


def test_it_is_skipped_with_a_reason_where_the_data_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(domain, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench.domain", "--json", str(tmp_path / "domain.json")])
    domain.main()
    assert "HEADRACE_DATA" in json.loads(capsys.readouterr().out.splitlines()[-1])["skipped"]
    assert not (tmp_path / "domain.json").exists()


def test_rows_of_other_labels_that_went_to_the_new_one_are_counted() -> None:
    rows = [Row("a", "legal"), Row("b", "legal"), Row("c", "general")]
    found = by_label(rows, ["legal", "support", "support"])
    assert (found["legal"]["share"], found["general"]["share"], found["support"]) == (0.5, 0.0, 2)
