"""Publishes a release as a DuckDB file, and runs SQL on its table versions.

Tables are read from Delta as Arrow batches, with the fields of the CDM only, without the hidden provenance columns.
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

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.errors import ReleaseError
from pipelines.storage.paths import files_below

DUCKDB_TYPES: Final = {"bigint": "BIGINT", "date": "DATE", "timestamp": "TIMESTAMP", "double": "DOUBLE"}
"""DuckDB type of each Spark type; text has the length of the CDM field."""


_QUESTIONS: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""The statements that may be run. DuckDB parses SHOW and DESCRIBE as SELECT."""


@dataclass(frozen=True, slots=True)
class PinnedTable:
    """The path and the released version of a table."""

    path: str
    version: int


def read_delta(path: str, version: int | None = None) -> Any:
    """A Delta table as an Arrow dataset, read without an engine. Raises ReleaseError if the version cannot be read."""
    try:
        return DeltaTable(path, version=version).to_pyarrow_dataset(filesystem=files_below(path))
    except (DeltaError, TableNotFoundError, OSError) as error:
        which = f" at version {version}" if version is not None else ""
        raise ReleaseError(f"{path}{which} cannot be read; was the folder moved or vacuumed?") from error


def publish_duckdb(
    target: Path, tables: Mapping[str, PinnedTable], cdm: Mapping[str, CdmTable], comment: str
) -> dict[str, int]:
    """Write every table of the CDM to a new DuckDB file that replaces the old one. Gives the number of rows by table.

    All tables of the CDM version are created; those without a pinned table are empty. The file has no key constraints: the
    gates have checked the keys, and indexes would need more memory than the load. A failure leaves the old file unchanged.
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
    """An in-memory DuckDB connection with a view of every CDM table at its pinned version.

    SQL on the connection can neither change anything nor read other files.
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
    """The column names and the rows, fetched lazily.

    Raises ReleaseError for SQL that cannot be run, and for anything but one SELECT, SHOW, DESCRIBE or EXPLAIN.
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _QUESTIONS:
            raise ReleaseError("the query cannot be run: give one SELECT; a release cannot be changed")
        connection.execute(statements[0])
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException) as error:
        raise ReleaseError(f"the query cannot be run: {error}") from error
    except duckdb.Error as error:
        # Messages of other errors may quote a value of a row.
        raise ReleaseError(f"the query failed on a value or a limit: {type(error).__name__}") from error
    columns = [column[0] for column in connection.description or ()]
    return columns, iter(connection.fetchone, None)


def _view(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    _released(connection, table, pinned).create_view(table.name)


def _fill(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    _released(connection, table, pinned).insert_into(table.name)


def _released(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> duckdb.DuckDBPyRelation:
    """The CDM fields of a released table, read in batches when the relation is used."""
    return connection.from_arrow(read_delta(pinned.path, pinned.version)).project(_fields(table))


def _create(table: CdmTable) -> str:
    columns = ", ".join(f"{_name(c.name)} {_type(c)}{'' if c.nullable else ' NOT NULL'}" for c in table.columns)
    return f"CREATE TABLE {_name(table.name)} ({columns})"


def _fields(table: CdmTable) -> str:
    return ", ".join(f"{_value(column)} AS {_name(column.name)}" for column in table.columns)


def _value(column: CdmColumn) -> str:
    name = _name(column.name)
    if column.type == "timestamp":
        # Delta stores instants in UTC. A cast would convert them to the time zone of the machine; this keeps the UTC time.
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
