"""What is said where a release is not there any more as it was released, without an engine."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.errors import ReleaseError
from pipelines.release.model import TablePin
from pipelines.release.reading import PinnedTable, database_in_memory, digest_of_data_files, open_release, read_delta, run_query
from pipelines.release.store import ReleaseFolder
from tests.builders.publications import RELEASE

TABLE = CdmTable("kept", False, (CdmColumn("kept_id", "bigint", nullable=False),), "kept_id")
ROWS, FILES = 100_000, 40
"""So many that the last file is not read when DuckDB gives the first row: sixteen batches and four files are read ahead."""


def written(folder: Path, first: int) -> None:
    """Add a file of rows to a table."""
    write_deltalake(str(folder), pa.table({"kept_id": pa.array(range(first, first + ROWS), pa.int64())}), mode="append")


@contextmanager
def released(folder: Path, version: int, files: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_release({"kept": PinnedTable(str(folder), version, 0, files)}, {"kept": TABLE}) as connection:
        yield connection


def test_a_version_that_was_written_anew_after_a_restore_is_refused(tmp_path: Path) -> None:
    table, backup = tmp_path / "kept", tmp_path / "backup"
    written(table, 0)
    shutil.copytree(table, backup)
    written(table, ROWS)
    files = digest_of_data_files(read_delta(str(table), 1))
    with released(table, 1, files) as connection:
        assert next(run_query(connection, "select count(*) from kept")[1]) == (2 * ROWS,)
    shutil.rmtree(table)
    shutil.copytree(backup, table)
    written(table, 5 * ROWS)
    with pytest.raises(ReleaseError, match="kept has other content at version 1 than was released"), released(table, 1, files):
        pass


@pytest.mark.parametrize("already_read", [0, 1])
def test_a_file_that_goes_while_a_release_is_read_is_said(tmp_path: Path, already_read: int) -> None:
    table = tmp_path / "kept"
    for number in range(FILES):
        written(table, number * ROWS)

    def read() -> None:
        rows = run_query(connection, "select * from kept")[1]
        for _ in range(already_read):
            next(rows)
        remove()
        assert sum(1 for _ in rows) < 0, "everything was read although files were gone"

    def remove() -> None:
        for file in table.glob("*.parquet"):
            file.unlink()

    with released(table, FILES - 1, None) as connection:
        if not already_read:
            remove()
        with pytest.raises(ReleaseError, match="a file of the release is gone; was it removed while it was read"):
            read()


@pytest.mark.parametrize(
    ("stored", "made", "release_id"),
    [
        ("a", "a", "20240105-aaaaaaaa"),
        (None, "a", "20240105-aaaaaaaa"),
        ("b", "a", "20240105-aaaaaaaa-2"),
        (None, None, "20240105-aaaaaaaa"),
    ],
)
def test_a_release_of_the_same_versions_with_other_files_has_another_id(
    tmp_path: Path, stored: str | None, made: str | None, release_id: str
) -> None:
    folder = ReleaseFolder(tmp_path)
    for files in (stored, made):
        pin = TablePin(zone="omop", name="kept", version=1, rows=2, files=files)
        found = folder.write(RELEASE.model_copy(update={"tables": (pin,)}))
    assert found.release_id == release_id


def test_what_does_not_fit_into_memory_goes_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, system = tmp_path / "work", tmp_path / "system"
    work.mkdir()
    system.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    with database_in_memory(memory_gib=0.04) as database:
        database.execute("CREATE TABLE spilled AS SELECT range AS id, repeat('x', 50) || range AS text FROM range(2_000_000)")
        (scratch,) = system.iterdir()
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        assert [path.name for path in scratch.iterdir() if path.name.startswith("duckdb_temp")] != []
    assert [*work.iterdir(), *system.iterdir()] == []
