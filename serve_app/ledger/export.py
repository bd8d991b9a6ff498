"""Accounts as a file for other programs: CSV, or Parquet with the extra `parquet`. Written as they are read."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import BigInteger, Boolean, Connection, Double, Integer, Table, select

from serve_app.core import ConfigError
from serve_app.ledger.partitions import created_between, on_days
from serve_app.ledger.tables import attempts, queries

Format = Literal["csv", "parquet"]
Rows = Literal["queries", "attempts"]
_TABLES: dict[Rows, Table] = {"queries": queries, "attempts": attempts}
_INTERNAL = ("first_token_bucket", "ms_bucket")
_ROWS_AT_A_TIME = 20_000


class RowFile(Protocol):
    """Takes rows in the order of the columns that it was opened with."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append rows; raises OSError."""
        ...


@contextmanager
def open_rows(path: Path, form: Format, rows: Rows) -> Iterator[RowFile]:
    """A file for one table's rows. It has its name once it is whole; after an error nothing is left of it.

    Raises OSError, and ConfigError where Parquet's library is missing.
    """
    part = path.with_name(f"{path.name}.part")
    opened = _csv_file if form == "csv" else _parquet_file
    try:
        with opened(part, rows) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_rows(connection: Connection, file: RowFile, rows: Rows, since_s: float | None, until_s: float | None) -> int:
    """Write the rows of the queries of a range, one snapshot, day by day; returns how many. Money is nano-dollars."""
    table = _TABLES[rows]
    statement = select(*(table.c[name] for name in _columns(rows)))
    if rows == "attempts":
        same = (queries.c.day == attempts.c.day) & (queries.c.query_id == attempts.c.query_id)
        statement = statement.join_from(attempts, queries, same).where(*on_days(attempts, since_s, until_s))
    statement = statement.where(*created_between(since_s, until_s)).order_by(*table.primary_key.columns)
    num_rows = 0
    found = connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(statement)
    for some in found.partitions():
        file.write([tuple(row) for row in some])
        num_rows += len(some)
    return num_rows


def _columns(rows: Rows) -> list[str]:
    return [column.name for column in _TABLES[rows].columns if column.name not in _INTERNAL]


class _CsvFile:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        self._writer.writerows(rows)


@contextmanager
def _csv_file(path: Path, rows: Rows) -> Iterator[RowFile]:
    """Null is an empty field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_columns(rows))
        yield _CsvFile(writer)


class _ParquetFile:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        import pyarrow

        columns = [
            pyarrow.array(values, each.type) for values, each in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))


@contextmanager
def _parquet_file(path: Path, rows: Rows) -> Iterator[RowFile]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ConfigError("Parquet files need a library; install headrace[parquet], or write CSV.") from error
    types = {Integer: pyarrow.int64(), BigInteger: pyarrow.int64(), Boolean: pyarrow.bool_(), Double: pyarrow.float64()}
    columns = [_TABLES[rows].c[name] for name in _columns(rows)]
    schema = pyarrow.schema(
        [(each.name, types.get(type(each.type), pyarrow.string()), each.nullable) for each in columns]
    )
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield _ParquetFile(writer, schema)
