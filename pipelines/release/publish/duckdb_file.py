"""Publishes a release as a DuckDB file, with keys, indexes and comments."""

from pathlib import Path

import duckdb

from pipelines.contracts.cdm import CdmTable
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.publish.publication import Publication, describe_column
from pipelines.release.reading import create_table, literal, quoted
from pipelines.storage.files import AnyPath, made_whole


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
