"""Reads a release at the pinned versions of its tables, without an engine: as DuckDB relations, and by SQL.

Tables are read from Delta as Arrow batches, with the fields of the CDM only, without the hidden provenance columns.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.errors import DocumentError, ReleaseError, is_out_of_space
from pipelines.scratch import scratch_folder
from pipelines.storage.documents import digest_of
from pipelines.storage.paths import files_below, opened

DUCKDB_TYPES: Final = {"bigint": "BIGINT", "date": "DATE", "timestamp": "TIMESTAMP", "double": "DOUBLE"}
"""DuckDB type of each Spark type; text has the length of the CDM field."""


_QUESTIONS: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""The statements that may be run. DuckDB parses SHOW and DESCRIBE as SELECT."""


@dataclass(frozen=True, slots=True)
class PinnedTable:
    """The path and the released version of a table, how many rows that version has, and the digest of its files, if known."""

    path: str
    version: int
    rows: int
    files: str | None = None


def digest_of_data_files(stored: Any) -> str:
    """SHA-256 over the names of the data files that `read_delta` gives, which no two writes have in common."""
    return digest_of(*sorted(fragment.path for fragment in stored.get_fragments()))


def read_pinned(pinned: PinnedTable) -> Any:
    """A released table as an Arrow dataset. Raises ReleaseError if its version cannot be read or has been written anew.

    After a restore of an older table the numbers of its versions are given again.
    """
    found = read_delta(pinned.path, pinned.version)
    if pinned.files is not None and digest_of_data_files(found) != pinned.files:
        raise ReleaseError(
            f"{pinned.path} has other content at version {pinned.version} than was released: an older table was restored, and "
            "written to since. Restore it from a backup of the release, or use the release of a later run"
        )
    return found


def read_delta(path: str, version: int | None = None) -> Any:
    """A Delta table as an Arrow dataset, read without an engine. Raises ReleaseError if the version cannot be read."""
    which = f" at version {version}" if version is not None else ""
    fault = f"{path}{which} cannot be read; was the folder moved or vacuumed?"
    try:
        table = opened(path, version)
        if table is None:
            raise ReleaseError(fault)
        return table.to_pyarrow_dataset(filesystem=files_below(path))
    except (DeltaError, DocumentError, OSError) as error:
        raise ReleaseError(fault) from error


@contextmanager
def database_in_memory(scratch_dir: Path | None = None, memory_gib: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database for the rows of a release. What does not fit into memory goes to a private folder.

    That is below the temporary folder of the system unless a folder is named: who may read a release often may not use
    `engine.scratch_dir`, which is inside restricted storage. DuckDB by itself takes most of the memory, and writes to `.tmp` in
    the working folder, for everybody to read.
    """
    with scratch_folder(scratch_dir) as scratch:
        config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(scratch)}
        if memory_gib is not None:
            config["memory_limit"] = f"{memory_gib}GiB"
        with duckdb.connect(":memory:", config=config) as connection:
            yield connection


@contextmanager
def open_release(tables: Mapping[str, PinnedTable], cdm: Mapping[str, CdmTable]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to `database_in_memory` with a view of every CDM table at its pinned version.

    SQL on the connection can neither change anything nor read other files.
    """
    with database_in_memory() as connection:
        for table in cdm.values():
            if table.name in tables:
                released(connection, table, tables[table.name]).create_view(table.name)
            else:
                connection.execute(create_table(table))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def run_query(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The column names and the rows, fetched lazily.

    Raises ReleaseError for SQL that cannot be run, and for anything but one SELECT, SHOW, DESCRIBE or EXPLAIN.
    """
    try:
        sql.encode()  # of a text that cannot be encoded DuckDB says that it is no text
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _QUESTIONS:
            raise ReleaseError("the query cannot be run: give one SELECT; a release cannot be changed")
        connection.execute(statements[0])
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException) as error:
        raise ReleaseError(f"the query cannot be run: {error}") from error
    except UnicodeEncodeError as error:
        raise ReleaseError("the query cannot be run: a letter in it is not UTF-8") from error
    except duckdb.Error as error:
        raise ReleaseError(f"the query failed: {why_it_failed(error)}") from error
    columns = [column[0] for column in connection.description or ()]
    return columns, _rows_of(connection)


def _rows_of(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    try:
        yield from iter(connection.fetchone, None)
    except duckdb.Error as error:
        raise ReleaseError(f"the query failed: {why_it_failed(error)}") from error


def why_it_failed(error: duckdb.Error) -> str:
    """What may be said of an error of DuckDB, whose message may quote a value of a row: its class.

    Two causes are not in the class: a full disk, and a file of the release that went while it was read.
    """
    if is_out_of_space(error):
        return "a disk is full; free space where it is written"
    if os.strerror(errno.ENOENT) in str(error):
        return "a file of the release is gone; was it removed while it was read? See nhs-omop releases"
    return f"on a value or a limit: {type(error).__name__}"


def released(
    connection: duckdb.DuckDBPyConnection,
    table: CdmTable,
    pinned: PinnedTable,
    replaced: Mapping[str, str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """The CDM fields of a released table, read in batches when the relation is used.

    A field that the stored table does not have is null. `replaced` gives the SQL value of fields that are not as stored.
    """
    stored = read_pinned(pinned)
    columns = {c.name: _value(c) if c.name in stored.schema.names else f"CAST(NULL AS {duckdb_type(c)})" for c in table.columns}
    columns |= replaced or {}
    return connection.from_arrow(stored).project(", ".join(f"{value} AS {quoted(name)}" for name, value in columns.items()))


def create_table(table: CdmTable) -> str:
    """The statement that makes an empty table, without keys."""
    columns = ", ".join(f"{quoted(c.name)} {duckdb_type(c)}{'' if c.nullable else ' NOT NULL'}" for c in table.columns)
    return f"CREATE TABLE {quoted(table.name)} ({columns})"


def _value(column: CdmColumn) -> str:
    name = quoted(column.name)
    if column.type == "timestamp":
        # Delta stores instants in UTC. A cast would convert them to the time zone of the machine; this keeps the UTC time.
        return f"make_timestamp(epoch_us({name}))"
    return f"CAST({name} AS {duckdb_type(column)})"


def duckdb_type(column: CdmColumn) -> str:
    """The DuckDB type of a field."""
    return DUCKDB_TYPES.get(column.type) or (f"VARCHAR({column.length})" if column.length else "VARCHAR")


def quoted(name: str) -> str:
    """A name of a table or a field, for SQL."""
    return f'"{name}"'


def literal(text: str) -> str:
    """A text, for SQL."""
    return "'" + text.replace("'", "''") + "'"
