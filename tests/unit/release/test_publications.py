"""Small tables published to DuckDB and Parquet: what a failure leaves, and what another version of the CDM says."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.command import ended_by_signals
from pipelines.contracts.cdm import cdm_tables
from pipelines.errors import ReleaseError, StoreError
from pipelines.release.publish.duckdb_file import publish_duckdb
from pipelines.release.publish.parquet_folder import ParquetManifest, publish_parquet
from pipelines.release.publish.publication import Publication
from pipelines.release.reading import PinnedTable
from tests.builders.object_store import ObjectStore, object_store
from tests.builders.publications import RELEASE, Row, publication
from tests.conftest import PROJECT

ROW: Row = (1, "a", 1.5, date(2024, 5, 1), datetime(2024, 5, 1, 12, 30))


def test_a_key_that_is_there_twice_leaves_the_former_duckdb_file(tmp_path: Path) -> None:
    target = tmp_path / "out" / "cdm.duckdb"
    publish_duckdb(target, publication(tmp_path / "kept", [ROW]))
    with pytest.raises(ReleaseError, match="DuckDB ConstraintException") as raised:
        publish_duckdb(target, publication(tmp_path / "twice", [(4711, *ROW[1:]), (4711, *ROW[1:])]))
    assert "4711" not in str(raised.value)
    assert [path.name for path in target.parent.iterdir()] == ["cdm.duckdb"]
    with duckdb.connect(str(target), read_only=True) as connection:
        assert connection.execute("SELECT * FROM kept").fetchall() == [ROW]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            duckdb.TransactionException('Could not write file "x of 4711": No space left on device'),
            "a disk is full; free space",
        ),
        (
            duckdb.IOException('{"exception_message":"4711: No space left on device","errno":"28"}'),
            "a disk is full; free space",
        ),
        (duckdb.IOException("IO Error: 4711"), "DuckDB IOException"),
        (duckdb.OutOfMemoryException("4711"), "raise engine.memory_gib"),
    ],
)
def test_a_failure_says_what_is_to_be_done_and_no_value(tmp_path: Path, error: duckdb.Error, said: str) -> None:
    """The words are those of DuckDB on a full disk, in a file of its own and in a Parquet file."""
    with pytest.raises(ReleaseError, match=said) as raised, publication(tmp_path / "kept", [ROW]).connected(tmp_path):
        raise error
    assert "4711" not in str(raised.value)


@pytest.mark.parametrize("form", ["duckdb", "parquet"])
def test_rows_lie_in_the_order_of_people_and_keys_not_as_they_were_delivered(tmp_path: Path, form: str) -> None:
    """More rows than DuckDB writes at once, by several threads."""
    periods = cdm_tables("5.4")["observation_period"]
    delivered = [(key, key * 7919 % 1009) for key in range(300_000, 0, -1)]
    keys, people = ([row[place] for row in delivered] for place in (0, 1))
    values: dict[str, list[int]] = {
        "observation_period_id": keys,
        "person_id": people,
        "period_type_concept_id": [0] * len(delivered),
    }
    columns = {
        column.name: pa.array(values[column.name] if column.name in values else [date(2024, 5, 1)] * len(delivered))
        for column in periods.columns
    }
    write_deltalake(str(tmp_path / "stored"), pa.table(columns))
    pinned = {periods.name: PinnedTable(str(tmp_path / "stored"), 0, len(delivered))}
    made = Publication(RELEASE, "5.4", {periods.name: periods}, pinned)
    if form == "duckdb":
        publish_duckdb(tmp_path / "cdm.duckdb", made)
        with duckdb.connect(str(tmp_path / "cdm.duckdb"), read_only=True) as connection:
            found = connection.execute(f"SELECT observation_period_id, person_id FROM {periods.name} ORDER BY rowid").fetchall()
    else:
        publish_parquet(tmp_path / "out", made)
        path = tmp_path / "out" / RELEASE.release_id / f"{periods.name}.parquet"
        found = duckdb.read_parquet(str(path)).project("observation_period_id, person_id").fetchall()
    assert found == sorted(delivered, key=lambda row: (row[1], row[0]))


def test_a_parquet_folder_that_fails_leaves_nothing_and_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    publish_parquet(folder, publication(tmp_path / "kept", [ROW]))
    later = replace(
        publication(tmp_path / "later", [ROW], pinned_rows=2),
        release=RELEASE.model_copy(update={"release_id": "20240106-bbbbbbbb"}),
    )
    with pytest.raises(ReleaseError, match="kept: 1 rows were written of 2"):
        publish_parquet(folder, later)
    assert [path.name for path in folder.iterdir()] == [RELEASE.release_id]
    assert duckdb.read_parquet(str(folder / RELEASE.release_id / "kept.parquet")).fetchall() == [ROW]


def test_of_two_parquet_publications_at_once_the_later_checks_the_folder_and_leaves_it(tmp_path: Path) -> None:
    made = publication(tmp_path / "kept", [ROW])
    folder = tmp_path / "out" / RELEASE.release_id

    def same(_: str) -> None:
        publish_parquet(tmp_path / "out", made)

    assert publish_parquet(tmp_path / "out", made, on_progress=same) == {"kept": 1}
    assert duckdb.read_parquet(str(folder / "kept.parquet")).fetchall() == [ROW]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def other(_: str) -> None:
        folder.mkdir()
        (folder / "notes").touch()

    shutil.rmtree(folder)
    with pytest.raises(ReleaseError, match="is there and is not the release as it was published; move it away"):
        publish_parquet(tmp_path / "out", made, on_progress=other)


def test_other_rows_than_the_release_has_leave_no_duckdb_file(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="kept: 1 rows were written of 2"):
        publish_duckdb(tmp_path / "out" / "cdm.duckdb", publication(tmp_path / "kept", [ROW], pinned_rows=2))
    assert not (tmp_path / "out").exists()


BEGIN = """
import sys
from pathlib import Path
from pipelines.storage.files import made_whole
with made_whole(Path(sys.argv[1])) as unfinished:
    unfinished.write_text("rows")
    print("under way", flush=True)
    sys.stdin.readline()
"""


def begun(target: Path) -> subprocess.Popen[str]:
    """A process that has written what is not finished, and goes on when it is given a line."""
    arguments, pipe = [sys.executable, "-c", BEGIN, str(target)], subprocess.PIPE
    started = subprocess.Popen(arguments, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "under way\n"
    return started


@pytest.mark.parametrize(
    ("publish", "target", "made"),
    [(publish_duckdb, "out/cdm.duckdb", "cdm.duckdb"), (publish_parquet, "out", RELEASE.release_id)],
)
def test_a_publication_removes_what_killed_ones_left_and_nothing_of_one_under_way(
    publish: Callable[..., dict[str, int]], target: str, made: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / ".unfinished-notes").mkdir(parents=True)  # somebody's own
    killed, running = begun(out / "killed.duckdb"), begun(out / "running.duckdb")
    killed.kill()
    killed.communicate()
    assert sorted(path.name for path in out.glob(".unfinished-*/*.duckdb")) == ["killed.duckdb", "running.duckdb"]
    publish(tmp_path / target, publication(tmp_path / "kept", [ROW]))
    assert [path.name for path in out.glob(".unfinished-*/*.duckdb")] == ["running.duckdb"]
    running.communicate("\n")
    assert sorted(path.name for path in out.iterdir()) == sorted([".unfinished-notes", "running.duckdb", made])


@pytest.fixture
def heeded(sent: signal.Signals) -> Iterator[None]:
    """The signal is not ignored, as an interrupt is by what a shell starts in the background, these tests included."""
    former = signal.signal(sent, signal.default_int_handler)
    yield
    signal.signal(sent, former)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("said", [None, ReleaseError("interrupted")], ids=["at once", "by what was under way"])
def test_signals_end_a_publication_that_then_leaves_nothing(
    sent: signal.Signals, code: int, said: Exception | None, tmp_path: Path
) -> None:
    def end(_: str) -> None:
        try:
            os.kill(os.getpid(), sent)
        except SystemExit:
            if said is None:
                raise
            raise said from None

    before = signal.getsignal(sent)
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        publish_duckdb(tmp_path / "out" / "cdm.duckdb", publication(tmp_path / "kept", [ROW]), on_progress=end)
    assert (ended.value.code, (tmp_path / "out").exists(), signal.getsignal(sent)) == (code, False, before)


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store of this module."""
    with object_store() as running:
        yield running


def test_a_duckdb_file_in_a_store_is_the_one_of_a_folder_and_replaced_whole(store: ObjectStore, tmp_path: Path) -> None:
    target = store.bucket("duckdb-file") / "of" / "cdm.duckdb"
    for rows in ([ROW], [ROW, (2, *ROW[1:])]):
        publish_duckdb(target, publication(tmp_path / f"kept{len(rows)}", rows), scratch=tmp_path / "scratch")
        assert store.keys(target.parent) == ["cdm.duckdb"]
        (tmp_path / "copy.duckdb").write_bytes(target.read_bytes())
        with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as connection:
            assert connection.execute("SELECT * FROM kept").fetchall() == rows
    before = target.read_bytes()
    with pytest.raises(ReleaseError, match="kept: 1 rows were written of 2"):
        publish_duckdb(target, publication(tmp_path / "short", [ROW], pinned_rows=2), scratch=tmp_path / "scratch")
    assert target.read_bytes() == before
    assert list((tmp_path / "scratch").iterdir()) == []


def test_parquet_files_in_a_store_are_complete_once_their_manifest_is_there(store: ObjectStore, tmp_path: Path) -> None:
    target = store.bucket("parquet-files") / "out"
    folder, made = target / RELEASE.release_id, publication(tmp_path / "kept", [ROW])
    (folder / "kept.parquet").write_bytes(b"of a publication that was stopped")
    assert publish_parquet(target, made) == {"kept": 1}
    assert store.keys(target) == [f"{RELEASE.release_id}/kept.parquet", f"{RELEASE.release_id}/manifest.json"]
    manifest = ParquetManifest.model_validate_json((folder / "manifest.json").read_bytes())
    (table,) = manifest.tables
    content = (folder / "kept.parquet").read_bytes()
    assert (table.sha256, table.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    (tmp_path / "kept.parquet").write_bytes(content)
    assert duckdb.read_parquet(str(tmp_path / "kept.parquet")).fetchall() == [ROW]
    assert publish_parquet(target, made) == {"kept": 1}
    (folder / "kept.parquet").write_bytes(b"")
    with pytest.raises(ReleaseError, match="move it away"):
        publish_parquet(target, made)


@pytest.mark.parametrize("made", [publish_duckdb, publish_parquet])
def test_a_publication_into_a_bucket_that_is_not_there_is_refused(
    store: ObjectStore, tmp_path: Path, made: Callable[..., dict[str, int]]
) -> None:
    with pytest.raises(StoreError, match="there is no bucket or container of this name"):
        made(store.place("no-such-bucket/out"), publication(tmp_path / "kept", [ROW]))


@pytest.mark.parametrize(
    ("codes", "concept"),
    [
        ({2_000_099_001: "CDM v5.4.0", 2_000_099_002: "CDM v5.5.0"}, 2_000_099_002),
        ({2_000_099_001: "CDM v5.4.0"}, 0),
        ({2_000_099_003: "CDM v15.5"}, 0),
    ],
)
def test_cdm_source_states_the_version_that_is_written(tmp_path: Path, codes: dict[int, str], concept: int) -> None:
    tables = {name: cdm_tables("5.5")[name] for name in ("cdm_source", "concept")}
    day = date(2024, 1, 5)
    concepts = pa.table(
        {
            "concept_id": list(codes),
            "concept_name": list(codes.values()),
            "domain_id": ["Metadata"] * len(codes),
            "vocabulary_id": ["CDM"] * len(codes),
            "concept_class_id": ["CDM"] * len(codes),
            "standard_concept": ["S"] * len(codes),
            "concept_code": list(codes.values()),
            "valid_start_date": [day] * len(codes),
            "valid_end_date": [day] * len(codes),
            "invalid_reason": pa.nulls(len(codes), pa.string()),
        }
    )
    names = ("cdm_source_name", "cdm_source_abbreviation", "cdm_holder", "cdm_version", "vocabulary_version")
    texts = {name: ["5.4" if name == "cdm_version" else "a"] for name in names}
    source = pa.table({**texts, "source_release_date": [day], "cdm_release_date": [day], "cdm_version_concept_id": [0]})
    pinned = {}
    for name, content in (("concept", concepts), ("cdm_source", source)):
        write_deltalake(str(tmp_path / name), content)
        pinned[name] = PinnedTable(str(tmp_path / name), 0, content.num_rows)
    publish_duckdb(tmp_path / "cdm.duckdb", Publication(RELEASE, "5.5", tables, pinned))
    with duckdb.connect(str(tmp_path / "cdm.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "SELECT cdm_version, cdm_version_concept_id, cdm_release_identifier, source_description FROM cdm_source"
        ).fetchall()
    assert found == [("5.5", concept, None, None)]
