"""Publishes a release as a DuckDB file, with keys, indexes and comments."""

from pathlib import Path
from typing import Final

import duckdb

from pipelines.contracts.cdm import COHORT_TABLES, CdmTable
from pipelines.contracts.derived import published_names
from pipelines.errors import ReleaseError
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.publish.publication import TITLE, Publication, describe_column, some
from pipelines.release.reading import create_table, literal, quoted
from pipelines.storage.files import AnyPath, entry_at, made_whole, opened

_MAGIC_AT, _MAGIC = 8, b"DUCK"
"""What a file of DuckDB has, and where."""


def publish_duckdb(
    target: AnyPath,
    publication: Publication,
    *,
    indexes: bool = True,
    scratch: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, int]:
    """Write every table of the CDM to a new DuckDB file that replaces the old one. Gives the number of rows by table.

    All tables of the CDM version are created; those without a pinned table are empty. Keys and indexes are made after the
    load; without `indexes` there are none, for releases whose indexes do not fit into memory. A failure leaves the old file
    unchanged. DuckDB writes on this machine only: for an object store the file is made below `scratch` and copied.
    """
    with made_whole(target, scratch) as unfinished:
        with publication.connected(unfinished.parent, str(unfinished)) as connection:
            rows = {}
            for name, table in publication.tables.items():
                rows[name] = _write(connection, publication, table, indexes)
                on_progress(name)
        unfinished.chmod(0o644)
    return rows


def require_replaceable(target: AnyPath) -> None:
    """Raises ReleaseError where there is anything but a publication, or one that others have put their work into.

    One on this machine is known by the comment of its cdm_source. Of one in a store only the kind of file is looked at.
    """
    found = entry_at(target)
    if found is None:
        return
    is_ours, foreign = found.is_file, list[str]()
    if is_ours:
        with opened(target) as file:
            is_ours = file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    if is_ours and isinstance(target, Path):
        try:
            with duckdb.connect(str(target), read_only=True) as connection:
                is_ours = _names_a_release(connection)
                foreign = _work_of_others(connection) if is_ours else []
        except duckdb.Error:
            is_ours = False
    if not is_ours:
        raise ReleaseError(
            f"{target} is there and is no publication, or is open for writing; nothing was written. Choose another path, or "
            "move it away"
        )
    if foreign:
        raise ReleaseError(
            f"{target} has what is not of a publication ({some(foreign)}); nothing was written. Move that to another file, or "
            "choose another path"
        )


def _names_a_release(connection: duckdb.DuckDBPyConnection) -> bool:
    found = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'cdm_source'").fetchall()
    return any(str(comment).startswith(TITLE) for (comment,) in found)


_OBJECTS: Final = """
    SELECT kind, schema_name, name FROM (
        SELECT 'table' AS kind, database_name, schema_name, table_name AS name, internal FROM duckdb_tables()
        UNION ALL SELECT 'view', database_name, schema_name, view_name, internal FROM duckdb_views()
        UNION ALL SELECT 'sequence', database_name, schema_name, sequence_name, false FROM duckdb_sequences()
        UNION ALL SELECT 'macro', database_name, schema_name, function_name, internal FROM duckdb_functions()
        UNION ALL SELECT 'type', database_name, schema_name, type_name, internal FROM duckdb_types()
    ) WHERE database_name = current_database() AND NOT internal ORDER BY kind, schema_name, name
"""
"""What somebody has made in a file: its kind, schema and name."""


def _work_of_others(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """What a file holds beside the tables of a publication, and its cohort tables that have rows."""
    ours = {("table", "main", name) for name in published_names()}
    made = connection.execute(_OBJECTS).fetchall()
    cohorts = [name for name in COHORT_TABLES if ("table", "main", name) in made and connection.table(name).limit(1).fetchall()]
    return [
        *(f"{kind} {schema}.{name}" for kind, schema, name in made if (kind, schema, name) not in ours),
        *(f"rows of table main.{name}" for name in cohorts),
    ]


def _write(connection: duckdb.DuckDBPyConnection, publication: Publication, table: CdmTable, indexes: bool) -> int:
    connection.execute(create_table(table))
    rows = publication.rows_of(connection, table)
    if rows is not None:
        rows.insert_into(table.name)
    for statement in (*(_keys(table) if indexes else ()), *_comments(publication, table)):
        connection.execute(statement)
    return publication.check_rows(table.name, int(connection.table(table.name).aggregate("count(*)").fetchall()[0][0]))


def _keys(table: CdmTable) -> list[str]:
    name = quoted(table.name)
    statements = [f"ALTER TABLE {name} ADD PRIMARY KEY ({quoted(table.primary_key)})"] if table.primary_key else []
    for column in table.indexes:
        statements.append(f"CREATE INDEX {quoted(f'idx_{table.name}_{column}')} ON {name} ({quoted(column)})")
    return statements


def _comments(publication: Publication, table: CdmTable) -> list[str]:
    name = quoted(table.name)
    described = publication.title if table.name == "cdm_source" else publication.describe(table)
    statements = [f"COMMENT ON TABLE {name} IS {literal(described)}"] if described else []
    for column in table.columns:
        text = describe_column(table, column)
        if text:
            statements.append(f"COMMENT ON COLUMN {name}.{quoted(column.name)} IS {literal(text)}")
    return statements
