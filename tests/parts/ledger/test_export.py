"""Accounts as files: every row, exact money, whole files only."""

import csv
import sys
from dataclasses import replace

import pytest

from serve_app.core import ConfigError
from serve_app.ledger import SqlLedger, export
from serve_app.ledger.times import DAY_S


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request, tmp_path, book, attempt, answer):
    """Five accounts of two attempts each over three days, the third with a comma in a name and half the fields null."""
    url = str(tmp_path / "ledger.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = SqlLedger(url)
    await opened.open()
    tried = [attempt("small", "escalated", 100, 10, confidence=0.1), attempt("large", "accepted", 90, 20)]
    one = book.price(answer("q", *tried, key_id="k1", route="legal", first_token_ms=0.1, reason='it said "no", twice'))
    accounts = [replace(one, query_id=f"q{n}", created_at_s=0.6 * n * DAY_S) for n in range(5)]
    accounts[2] = replace(accounts[2], key_id="a,b", route=None, first_token_ms=None)
    await opened.record(accounts)
    yield opened
    await opened.close()


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def test_csv_has_every_query_with_exact_money(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_ROWS_AT_A_TIME", 2)
    path = tmp_path / "out.csv"
    assert await ledger.export(path, "csv", "queries", None, None) == 5
    rows = read(path)
    assert [row["query_id"] for row in rows] == [f"q{n}" for n in range(5)]
    assert sum(int(row["cost_nusd"]) for row in rows) == (await ledger.spend(None, None)).nusd
    assert (rows[2]["key_id"], rows[2]["route"], rows[2]["first_token_ms"]) == ("a,b", "", "")
    assert rows[0]["reason"] == 'it said "no", twice'
    assert not any(name.endswith("_bucket") for name in rows[0])


async def test_attempts_of_a_range_are_those_of_its_queries(ledger, tmp_path):
    path = tmp_path / "out.csv"
    assert await ledger.export(path, "csv", "attempts", 0.6 * DAY_S, 1.7 * DAY_S) == 4
    assert [(row["query_id"], row["attempt_index"]) for row in read(path)] == [
        ("q1", "0"), ("q1", "1"), ("q2", "0"), ("q2", "1")
    ]  # fmt: skip


@pytest.mark.parametrize("rows", ["queries", "attempts"])
async def test_parquet_says_the_same_as_csv(ledger, tmp_path, monkeypatch, rows):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(export, "_ROWS_AT_A_TIME", 2)
    await ledger.export(tmp_path / "out.csv", "csv", rows, None, None)
    await ledger.export(tmp_path / "out.parquet", "parquet", rows, None, None)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("cost_nusd").type) == "int64"
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table.to_pylist()]
    csv_rows = read(tmp_path / "out.csv")
    assert [{**row, "escalated": ""} for row in texts] == [{**row, "escalated": ""} for row in csv_rows]


async def test_after_an_error_the_old_file_is_there_and_no_half_of_the_new_one(ledger, tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def breaks(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_rows", breaks)
    with pytest.raises(OSError, match="No space"):
        await ledger.export(path, "csv", "queries", None, None)
    assert path.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


async def test_without_the_library_parquet_names_the_extra(ledger, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"install headrace\[parquet\]"):
        await ledger.export(tmp_path / "out.parquet", "parquet", "queries", None, None)
