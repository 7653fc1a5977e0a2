"""Releases outside the lakehouse: a DuckDB file, and SQL on the pinned versions themselves.

Tables are read from Delta as Arrow batches, with the fields of the CDM only. Hidden provenance columns stay behind.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import dataset

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.errors import ReleaseError

DUCKDB_TYPES: Final = {"bigint": "BIGINT", "date": "DATE", "timestamp": "TIMESTAMP", "double": "DOUBLE"}
"""DuckDB type of each Spark type; text keeps the length that the CDM gives it."""


_QUESTIONS: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""SHOW and DESCRIBE are read as a SELECT."""


@dataclass(frozen=True, slots=True)
class PinnedTable:
    """Where a released table lies and which version of it was released."""

    path: str
    version: int


def read_delta(path: str, version: int | None = None) -> Any:
    """The Arrow dataset of a Delta table, read without an engine. Raises ReleaseError if the version cannot be read."""
    try:
        return DeltaTable(path, version=version).to_pyarrow_dataset()
    except (DeltaError, TableNotFoundError, OSError) as error:
        which = f" at version {version}" if version is not None else ""
        raise ReleaseError(f"{path}{which} cannot be read; was the folder moved or vacuumed?") from error


def publish_duckdb(
    target: Path, tables: Mapping[str, PinnedTable], cdm: Mapping[str, CdmTable], comment: str
) -> dict[str, int]:
    """Write every table of the CDM into a new DuckDB file and put it in the place of the old one; rows by table.

    All tables of the CDM version are made; those without a pinned table are empty. The file carries no keys: the gates have
    proved them, and an index on each would cost more memory than the load. A failure leaves the old file as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        unfinished = Path(folder) / target.name
        with duckdb.connect(str(unfinished)) as connection:
            for table in cdm.values():
                connection.execute(_create(table))
                if table.name in tables:
                    _fill(connection, table, tables[table.name])
            connection.execute(f"COMMENT ON TABLE cdm_source IS {_literal(comment)}")
            rows = {name: _count(connection, name) for name in cdm}
        unfinished.chmod(0o644)
        unfinished.replace(target)
    return rows


@contextmanager
def open_release(tables: Mapping[str, PinnedTable], cdm: Mapping[str, CdmTable]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection in memory with a view for every table of the CDM, at the pinned versions.

    Nothing can be changed and no other file can be reached from the SQL that is run on it.
    """
    with duckdb.connect(":memory:") as connection:
        for table in cdm.values():
            if table.name in tables:
                _view(connection, table, tables[table.name])
            else:
                connection.execute(_create(table))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def run_query(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The names of the columns and the rows, fetched as they are used.

    Raises ReleaseError for SQL that cannot be run, and for anything but one question (SELECT, SHOW, DESCRIBE, EXPLAIN).
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _QUESTIONS:
            raise ReleaseError("the query cannot be run: give one SELECT; a release cannot be changed")
        connection.execute(statements[0])
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException) as error:
        raise ReleaseError(f"the query cannot be run: {error}") from error
    except duckdb.Error as error:
        # The message of any other error may quote a value.
        raise ReleaseError(f"the query failed on a value or a limit: {type(error).__name__}") from error
    columns = [column[0] for column in connection.description or ()]
    return columns, iter(connection.fetchone, None)


def _view(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    _released(connection, table, pinned).create_view(table.name)


def _fill(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    _released(connection, table, pinned).insert_into(table.name)


def _released(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> duckdb.DuckDBPyRelation:
    """The fields of the CDM of a released table, read in batches when the relation is used."""
    return connection.from_arrow(read_delta(pinned.path, pinned.version)).project(_fields(table))


def _create(table: CdmTable) -> str:
    columns = ", ".join(f"{_name(c.name)} {_type(c)}{'' if c.nullable else ' NOT NULL'}" for c in table.columns)
    return f"CREATE TABLE {_name(table.name)} ({columns})"


def _fields(table: CdmTable) -> str:
    return ", ".join(f"{_value(column)} AS {_name(column.name)}" for column in table.columns)


def _value(column: CdmColumn) -> str:
    name = _name(column.name)
    if column.type == "timestamp":
        # Delta keeps instants in UTC; a cast would show them in the zone of the machine, this keeps the wall clock of UTC.
        return f"make_timestamp(epoch_us({name}))"
    return f"CAST({name} AS {_type(column)})"


def _type(column: CdmColumn) -> str:
    return DUCKDB_TYPES.get(column.type) or (f"VARCHAR({column.length})" if column.length else "VARCHAR")


def _name(name: str) -> str:
    return f'"{name}"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(connection.table(name).aggregate("count(*)").fetchall()[0][0])


def read_records(path: str, columns: Mapping[str, str], column: str = "", value: str = "") -> list[dict[str, Any]]:
    """The rows of a small Delta table of ours (ledger, gate results), read without an engine; none if there is no table.

    With `column`, only the rows that have `value` there.
    """
    if not (Path(path) / "_delta_log").is_dir():
        return []
    chosen = dataset.field(column) == value if column else None
    records: list[dict[str, Any]] = read_delta(path).to_table(columns=list(columns), filter=chosen).to_pylist()
    return records
