"""Releases outside the lakehouse: a DuckDB file, and SQL on the pinned versions themselves.

Tables are read from Delta as Arrow batches, with the fields of the CDM only. Hidden provenance columns stay behind.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.errors import ReleaseError

DUCKDB_TYPES: Final = {"bigint": "BIGINT", "date": "DATE", "timestamp": "TIMESTAMP", "double": "DOUBLE"}
"""DuckDB type of each Spark type; text keeps the length that the CDM gives it."""

_SOURCE: Final = "_delta"


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
        os.replace(unfinished, target)
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


def _view(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    source = f"{_SOURCE}_{table.name}"
    connection.register(source, read_delta(pinned.path, pinned.version))
    connection.execute(f"CREATE VIEW {_name(table.name)} AS SELECT {_fields(table)} FROM {_name(source)}")


def _fill(connection: duckdb.DuckDBPyConnection, table: CdmTable, pinned: PinnedTable) -> None:
    connection.register(_SOURCE, read_delta(pinned.path, pinned.version))
    connection.execute(f"INSERT INTO {_name(table.name)} SELECT {_fields(table)} FROM {_name(_SOURCE)}")
    connection.unregister(_SOURCE)


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
    found = connection.execute(f"SELECT count(*) FROM {_name(name)}").fetchone()
    return int(found[0]) if found else 0


def read_records(path: str, columns: Mapping[str, str], where: pa.compute.Expression | None = None) -> list[dict[str, Any]]:
    """The rows of a small Delta table of ours (ledger, gate results), read without an engine."""
    records: list[dict[str, Any]] = read_delta(path).to_table(columns=list(columns), filter=where).to_pylist()
    return records
