"""Publishes a release as a folder of Parquet files, one a table, with a manifest."""

import errno
import logging
from pathlib import Path
from typing import ClassVar, Final

import duckdb

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.models import Frozen
from pipelines.errors import OmopPipelineError, ReleaseError
from pipelines.progress import OnProgress, ignore_progress
from pipelines.release.publish.publication import Publication, in_order
from pipelines.release.reading import create_table
from pipelines.storage.documents import Document
from pipelines.storage.files import AnyPath, digest_of_file, entry_at, in_store, is_folder, made_whole

log = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"

ROWS_A_GROUP: Final = 122_880
"""Rows of a row group at most: a reader of some people skips the groups that have none of them."""


class ManifestColumn(Frozen):
    """A field: its name, its type (`bigint`, `date`, `timestamp`, `double`, `string`) and the `table.field` it refers to."""

    name: str
    type: str
    nullable: bool
    references: str | None = None


class ManifestTable(Frozen):
    """A table: its file, rows, bytes and checksum, and its fields in the order of the file."""

    name: str
    file: str
    rows: int
    bytes: int
    sha256: str
    primary_key: str | None
    columns: tuple[ManifestColumn, ...]


class ParquetManifest(Document):
    """What a folder of Parquet files holds: the release, the version of the CDM and every table."""

    MODE: ClassVar[int] = 0o644

    release_id: str
    run_id: str
    cdm_version: str
    vocabulary_version: str
    tables: tuple[ManifestTable, ...]


def publish_parquet(
    target: AnyPath, publication: Publication, on_progress: OnProgress = ignore_progress, scratch: Path | None = None
) -> dict[str, int]:
    """Write every table of the CDM to a folder of the release below `target`. Gives the number of rows by table.

    The folder has the id of the release, with the version of the CDM where that is another one. It appears when it is complete;
    a failure leaves nothing of it, and the folders of other releases are not touched. One that is there already is checked
    against its manifest and left as it is. Raises ReleaseError where it differs.

    In an object store the manifest comes last: without one the folder is of a publication that was stopped, and is made again.
    """
    folder = target / _folder_name(publication)
    if is_folder(folder) and not (in_store(folder) and entry_at(folder / MANIFEST) is None):
        return _published(folder, publication)
    try:
        return _made(folder, publication, on_progress, scratch)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return _published(folder, publication)  # another publication of the release has ended meanwhile


def _made(folder: AnyPath, publication: Publication, on_progress: OnProgress, scratch: Path | None) -> dict[str, int]:
    with made_whole(folder, scratch, last=MANIFEST) as unfinished:
        unfinished.mkdir(mode=0o755)
        with publication.connected(unfinished.parent) as connection:
            tables = []
            for table in publication.tables.values():
                tables.append(_write(connection, publication, table, unfinished))
                on_progress(table.name)
        ParquetManifest(
            release_id=publication.release.release_id,
            run_id=publication.release.run_id,
            cdm_version=publication.cdm_version,
            vocabulary_version=publication.release.vocabulary_version,
            tables=tuple(tables),
        ).write(unfinished / MANIFEST)
    return {table.name: table.rows for table in tables}


def _folder_name(publication: Publication) -> str:
    release = publication.release
    same = publication.cdm_version == release.cdm_version
    return release.release_id if same else f"{release.release_id}-cdm{publication.cdm_version}"


def _published(folder: AnyPath, publication: Publication) -> dict[str, int]:
    """The rows by table of a folder that is there already. Raises ReleaseError unless it is what its manifest says."""
    try:
        manifest = ParquetManifest.read(folder / MANIFEST)
    except OmopPipelineError as error:
        raise ReleaseError(f"{error}") from error
    is_this = manifest is not None and manifest.release_id == publication.release.release_id
    if manifest is None or not is_this or any(_differs(folder / table.file, table.sha256) for table in manifest.tables):
        raise ReleaseError(f"{folder} is there and is not the release as it was published; move it away and publish again")
    log.info("the release is there already, as its manifest says", extra={"folder": str(folder)})
    return {table.name: table.rows for table in manifest.tables}


def _differs(path: AnyPath, sha256: str) -> bool:
    found = entry_at(path)
    return found is None or not found.is_file or digest_of_file(path) != sha256


def _write(connection: duckdb.DuckDBPyConnection, publication: Publication, table: CdmTable, folder: Path) -> ManifestTable:
    rows = publication.rows_of(connection, table)
    if rows is None:
        connection.execute(create_table(table))
        rows = connection.table(table.name)
    path = folder / f"{table.name}.parquet"
    ordered = in_order(rows, table) if table.is_vocabulary else rows
    ordered.write_parquet(str(path), compression="zstd", row_group_size=ROWS_A_GROUP)
    path.chmod(0o644)
    written = connection.read_parquet(str(path)).aggregate("count(*)").fetchall()[0][0]
    return ManifestTable(
        name=table.name,
        file=path.name,
        rows=publication.check_rows(table.name, int(written)),
        bytes=path.stat().st_size,
        sha256=digest_of_file(path),
        primary_key=table.primary_key,
        columns=tuple(
            ManifestColumn(
                name=column.name,
                type=column.type,
                nullable=column.nullable,
                references=".".join(column.references) if column.references else None,
            )
            for column in table.columns
        ),
    )
