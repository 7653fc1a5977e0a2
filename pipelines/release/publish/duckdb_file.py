"""Publishes a release as a DuckDB file, with keys, indexes and comments."""

from pathlib import Path

import duckdb

from pipelines.contracts.cdm import CdmTable
from pipelines.errors import ReleaseError
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.publish.publication import TITLE, Publication, describe_column
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
    """Raises ReleaseError where there is anything but a publication: nobody's file is replaced.

    One on this machine is known by the comment of its cdm_source. Of one in a store only the kind of file is looked at.
    """
    found = entry_at(target)
    if found is None:
        return
    is_ours = found.is_file
    if is_ours:
        with opened(target) as file:
            is_ours = file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    if is_ours and isinstance(target, Path):
        is_ours = _names_a_release(target)
    if not is_ours:
        raise ReleaseError(
            f"{target} is there and is no publication, or is open for writing; nothing was written. Choose another path, or "
            "move it away"
        )


def _names_a_release(path: Path) -> bool:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'cdm_source'").fetchall()
    except duckdb.Error:
        return False
    return any(str(comment).startswith(TITLE) for (comment,) in found)


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
