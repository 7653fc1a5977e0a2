"""Upkeep on real Delta tables over many cheap nights: the lake stays small, and what is kept can be read."""

import os
import shutil
import stat
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import UpkeepError
from pipelines.release.model import TablePin
from pipelines.release.published import release_folder
from pipelines.release.store import Hold
from pipelines.run_inputs import build_state_path
from pipelines.runner import BuildState, Runner
from pipelines.settings import Settings, UpkeepSettings, table_folders
from pipelines.storage.maintenance import Executor, OnDisk, executor_for, on_disk
from pipelines.storage.paths import LOG_PROPERTIES
from pipelines.storage.rights import private_files
from pipelines.storage.tables import TableStore
from pipelines.terminology.vocabulary import store_of
from pipelines.upkeep.due import UpkeepState
from pipelines.upkeep.following import follow_versions
from pipelines.upkeep.keeping import finish_following, keep_up, would_do
from tests.builders.publications import RELEASE

BRONZE = TableName(Zone.BRONZE, "gp_journal")
REGISTER = TableName(Zone.CURATION, "register")
SILVER = TableName(Zone.SILVER, "gp_journal")
PERSON = TableName(Zone.OMOP, "person")
LOCATION = TableName(Zone.OMOP, "location")
ROWS = TableName(Zone.LEDGER, "rows")

DELIVERED = 6
"""Rows that come every night, in three files."""

ROW = {"_load": "string", "n": "bigint", "day": "date", "at": "timestamp", "amount": "decimal(10,2)", "text": "string"}
RUN = "run_id"
EIGHT_DAYS = 8 * 24 * 3600
LOADS = {"load_id": "string", "files": "bigint"}
COUNTED = {RUN: "string", "rows": "bigint"}


def delivered(session: SparkSession, night: int) -> DataFrame:
    """The rows of a night, with a missing text and a number in each."""
    return (
        session.range(DELIVERED)
        .repartition(3, "id")
        .select(
            F.lit(f"l{night:03}").alias("_load"),
            (F.col("id") + night * DELIVERED).alias("n"),
            F.expr("date_add(date'2026-01-01', cast(id as int))").alias("day"),
            F.expr("timestamp'2026-01-01 23:59:59.123456'").alias("at"),
            F.expr("cast(id / 4 as decimal(10,2))").alias("amount"),
            F.expr("if(id = 0, null, concat('text ', id))").alias("text"),
        )
    )


def ordered(frame: DataFrame) -> list[tuple[object, ...]]:
    """The rows of a frame in a fixed order."""
    return sorted((tuple(row) for row in frame.select(*sorted(frame.columns)).collect()), key=repr)


def files_of(lake: "Lake") -> dict[str, tuple[int, int]]:
    """Every file of both roots with its size and when it was written."""
    roots = lake.settings.storage.restricted, lake.settings.storage.deidentified
    found = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@dataclass
class Lake:
    """A lakehouse of a few small tables that a runner makes."""

    settings: Settings
    session: SparkSession
    executor: Executor = field(default_factory=lambda: executor_for(None))
    nights: int = 0

    @property
    def store(self) -> TableStore:
        return store_of(self.session, self.settings)

    @property
    def runner(self) -> Runner:
        return Runner(self.store, build_state_path(self.settings))

    @property
    def releases(self) -> list[str]:
        return release_folder(self.settings).ids()

    def path(self, name: TableName) -> Path:
        return Path(self.store.path(*name))

    def loads(self, night: int) -> list[Table]:
        """What a night adds to bronze, register and ledger."""

        def load(name: TableName, schema: dict[str, str], column: str, value: str, rows: DataFrame) -> Table:
            return Table(
                name=name,
                grain="one row per row",
                schema=schema,
                belongs_to=BelongsTo.LOAD,
                make=lambda _inputs: rows,
                parameters=value,
                partition_by=(column,),
                replaces=Partitions(column, (value,)),
            )

        run, loaded, session = f"{self.day(night):%Y%m%d}-{night + 1:05}", f"l{night:03}", self.session
        files = session.createDataFrame([(loaded, 3)], "load_id string, files int")
        counts = session.createDataFrame([(run, DELIVERED)], "run_id string, rows int")
        return [
            load(BRONZE, ROW, "_load", loaded, delivered(session, night)),
            load(REGISTER, LOADS, "load_id", loaded, files),
            load(ROWS, COUNTED, RUN, run, counts),
        ]

    def made(self) -> list[Table]:
        """What is made again whole of it, and a table that nothing changes."""

        def whole(name: TableName, *inputs: TableName, keeps_equal: bool = False) -> Table:
            def make(read: Inputs) -> DataFrame:
                return read.read(*inputs[0]).repartition(2) if inputs else delivered(read.session, 0)

            return Table(name, "one row per row", ROW, BelongsTo.WHOLE, make, inputs, keeps_equal=keeps_equal)

        return [whole(SILVER, BRONZE, REGISTER), whole(PERSON, SILVER), whole(LOCATION, keeps_equal=True)]

    def day(self, night: int) -> date:
        return date(2026, 1, 1) + timedelta(days=night)

    def night(self) -> None:
        """One night: new rows, the tables that follow from them, a release."""
        self.runner.run(self.loads(self.nights))
        self.runner.run(self.made())
        pins = tuple(
            TablePin(zone=name.zone.value, name=name.name, version=version, rows=0)
            for name, version in self.runner.versions(self.made()).items()
            if name.zone is Zone.OMOP
        )
        day = self.day(self.nights)
        release = RELEASE.model_copy(
            update={
                "release_id": f"{day:%Y%m%d}-{self.nights:08x}",
                "run_id": f"{day:%Y%m%d}-{self.nights + 1:05}",
                "run_date": day,
                "input_fingerprint": f"{self.nights:08x}",
                "tables": pins,
            }
        )
        folder = release_folder(self.settings)
        folder.write(release)
        folder.point_at(release.release_id, action="release", at=day.isoformat())
        self.nights += 1
        for entry in self.settings.storage.restricted.parent.glob("*/*/*/_delta_log/*"):
            os.utime(entry, (entry.stat().st_atime, entry.stat().st_mtime - EIGHT_DAYS))  # a log is kept for a week

    def keep_up(self, *, thorough: bool = False) -> None:
        keep_up(self.settings, self.executor, thorough=thorough)

    def waiting(self) -> list[str]:
        """The tables that a run would make now."""
        return [str(step.name) for step in self.runner.plan(self.made())]

    def rows(self, name: TableName, version: int | None = None) -> list[tuple[object, ...]]:
        """The rows of a table as the engine reads them, its columns in the order of their names."""
        return ordered(self.store.read(*name, version=version))

    def expected(self, nights: int) -> list[tuple[object, ...]]:
        """Every row that came in some nights."""
        return sorted((row for night in range(nights) for row in ordered(delivered(self.session, night))), key=repr)


@pytest.fixture
def lake(sail: SparkSession, settings: Settings) -> Lake:
    """An empty lakehouse that keeps three releases, five runs, and no version for its age."""
    policy = UpkeepSettings(keep_releases=3, keep_days=0, keep_runs=5, small_files=20)
    settings.storage.restricted.mkdir(mode=0o700)
    settings.storage.deidentified.mkdir()
    return Lake(settings.model_copy(update={"upkeep": policy}), sail)


@pytest.mark.deep
def test_a_lake_stays_small_over_sixty_nights(lake: Lake) -> None:
    names = (BRONZE, REGISTER, ROWS, SILVER, PERSON, LOCATION)
    found: dict[int, dict[TableName, OnDisk]] = {}
    for night in range(60):
        lake.night()
        lake.keep_up()
        if night % 10 == 9:
            assert lake.waiting() == [], f"night {night}"
            found[night + 1] = {name: on_disk(str(lake.path(name))) for name in names}
    assert lake.rows(BRONZE) == lake.expected(60)
    assert len(lake.rows(REGISTER)) == 60
    # A file for each load, and three for each of the last ones, which wait to be put together with others.
    assert [found[60][BRONZE].files <= 60 + 30, found[60][REGISTER].files] == [True, 60]
    assert all(table.log_files <= 40 for table in found[60].values()), found[60]
    # Two files a version: three that releases pin, and up to five that wait.
    assert all(tables[name].files <= 16 for tables in found.values() for name in (SILVER, PERSON)), found
    assert found[60][LOCATION] == found[10][LOCATION]
    assert {run for _, run in lake.rows(ROWS)} >= {f"{lake.day(night):%Y%m%d}-{night + 1:05}" for night in range(55, 60)}
    assert found[60][ROWS].files <= 12
    assert len(lake.releases) == 3
    for place, release_id in enumerate(lake.releases):
        pin = release_folder(lake.settings).read(release_id).pin("omop", "person").version
        assert lake.rows(PERSON, pin) == lake.expected(58 + place)
        assert DeltaTable(str(lake.path(PERSON)), version=pin).to_pyarrow_table().num_rows == DELIVERED * (58 + place)


def test_a_thorough_upkeep_leaves_nothing_to_do(lake: Lake) -> None:
    for _ in range(12):
        lake.night()
    report = keep_up(lake.settings, lake.executor, thorough=True)
    assert report.releases == tuple(f"{lake.day(night):%Y%m%d}-{night:08x}" for night in range(9))
    assert report.runs == tuple(f"{lake.day(night):%Y%m%d}-{night + 1:05}" for night in range(7))
    changed = {table.name: table for table in report.tables}
    assert set(changed) == {BRONZE, REGISTER, ROWS, SILVER, PERSON}
    assert (changed[BRONZE].joined, changed[BRONZE].before.files, changed[BRONZE].after.files) == (24, 36, 12)
    assert (changed[PERSON].joined, changed[PERSON].versions, changed[PERSON].after.files) == (0, (12, 3), 6)
    assert all(changed[name].after.size < changed[name].before.size for name in (BRONZE, SILVER, PERSON))
    state = files_of(lake)
    assert keep_up(lake.settings, lake.executor, thorough=True).tables == []
    assert files_of(lake) == state
    assert would_do(lake.settings).tables == []
    assert lake.waiting() == []
    assert lake.rows(BRONZE) == lake.expected(12)


def test_a_dry_run_says_the_same_and_writes_nothing(lake: Lake) -> None:
    for _ in range(8):
        lake.night()
    state = files_of(lake)
    said = would_do(lake.settings)
    assert files_of(lake) == state
    done = keep_up(lake.settings, lake.executor, thorough=True)
    assert (said.releases, said.runs) == (done.releases, done.runs)
    assert [(table.name, table.joined, table.versions, table.before) for table in said.tables] == [
        (table.name, table.joined, table.versions, table.before) for table in done.tables
    ]
    of_person = [next(table.after.files for table in report.tables if table.name == PERSON) for report in (said, done)]
    assert of_person == [6, 6]


def test_a_release_that_is_held_stays_readable_over_many_nights(lake: Lake) -> None:
    lake.night()
    held = lake.releases[0]
    release_folder(lake.settings).put_hold(Hold(release_id=held, owner="study 12", reason="it rests on it", at="2026-01-01"))
    for _ in range(23):
        lake.night()
        lake.keep_up()
    assert lake.releases == [held, *(f"{lake.day(night):%Y%m%d}-{night:08x}" for night in (21, 22, 23))]
    removed = release_folder(lake.settings).removed()
    assert [gone.release_id for gone in removed] == [f"{lake.day(night):%Y%m%d}-{night:08x}" for night in range(1, 21)]
    assert {gone.reason for gone in removed} == {"by upkeep, because newer releases are kept"}
    assert lake.rows(PERSON, release_folder(lake.settings).read(held).pin("omop", "person").version) == lake.expected(1)
    assert on_disk(str(lake.path(PERSON))).files <= 18


def test_a_held_release_that_came_back_from_a_backup_stays_readable(lake: Lake, tmp_path: Path) -> None:
    """What upkeep remembers is of later nights, when nobody held the release and its versions went."""
    root, backup = Path(str(lake.settings.storage.deidentified)), tmp_path / "backup"
    for _ in range(3):
        lake.night()
    held = lake.releases[0]
    shutil.copytree(root, backup)
    for _ in range(6):
        lake.night()
    lake.keep_up(thorough=True)
    shutil.rmtree(root)
    shutil.copytree(backup, root)
    build_state_path(lake.settings).unlink()
    release_folder(lake.settings).put_hold(Hold(release_id=held, owner="study 12", reason="it rests on it", at="2026-01-03"))
    for _ in range(8):
        lake.night()
    lake.keep_up(thorough=True)
    assert held in lake.releases
    assert lake.rows(PERSON, release_folder(lake.settings).read(held).pin("omop", "person").version) == lake.expected(1)


@pytest.mark.parametrize("followed", [True, False])
def test_nothing_is_made_again_after_an_upkeep_that_was_killed(lake: Lake, followed: bool) -> None:
    """Killed after a commit and before the build state knew of it; without the note of what was under way all is made again."""
    for _ in range(2):
        lake.night()
    if followed:
        path = lake.settings.storage.restricted / "upkeep.json"
        UpkeepState(under_way=(str(BRONZE), str(PERSON))).write(path)
    lake.executor.compact(str(lake.path(BRONZE)))
    lake.executor.keep_log(str(lake.path(PERSON)))
    finish_following(lake.settings)
    assert lake.waiting() == ([] if followed else [str(SILVER), str(PERSON)])
    state = BuildState.read(build_state_path(lake.settings))
    assert state is not None
    assert (state.tables[str(BRONZE)].version, state.tables[str(SILVER)].inputs[str(BRONZE)]) == (
        (2, 2) if followed else (1, 1)
    )


def test_a_write_after_the_recorded_version_is_not_taken_for_upkeep(lake: Lake) -> None:
    for _ in range(2):
        lake.night()
    lake.runner.run(lake.loads(2))  # silver has not read it yet
    lake.executor.compact(str(lake.path(BRONZE)))
    follow_versions(build_state_path(lake.settings), table_folders(lake.settings), [BRONZE, REGISTER])
    state = BuildState.read(build_state_path(lake.settings))
    assert state is not None
    assert state.tables[str(BRONZE)].version == 3
    assert state.tables[str(SILVER)].inputs[str(BRONZE)] == 1
    assert lake.waiting() == [str(SILVER), str(PERSON)]
    lake.keep_up(thorough=True)
    assert lake.rows(BRONZE, 1) == lake.expected(2)  # what silver was made of can still be compared with
    lake.runner.run(lake.made())
    assert lake.rows(SILVER) == lake.expected(3)


def test_what_a_killed_write_left_goes_and_young_versions_stay(lake: Lake) -> None:
    for _ in range(6):
        lake.night()
    week = lake.settings.upkeep.model_copy(update={"keep_days": 7})
    orphan = lake.path(PERSON) / "part-00000-left.parquet"
    orphan.write_bytes(b"left")
    os.utime(orphan, (0, 0))
    keep_up(lake.settings.model_copy(update={"upkeep": week}), lake.executor, thorough=True)
    assert [lake.rows(PERSON, version) for version in range(6)] == [lake.expected(nights) for nights in range(1, 7)]
    lake.keep_up(thorough=True)
    assert not orphan.exists()
    with pytest.raises(FileNotFoundError):
        DeltaTable(str(lake.path(PERSON)), version=1).to_pyarrow_table()


def test_a_table_of_an_earlier_version_gets_a_log_of_its_own(lake: Lake) -> None:
    lake.night()
    path = str(lake.path(PERSON))
    DeltaTable(path).alter.set_table_properties({"delta.enableExpiredLogCleanup": "true"})
    lake.runner.run(lake.made())
    lake.keep_up(thorough=True)
    assert LOG_PROPERTIES.items() <= DeltaTable(path).metadata().configuration.items()
    assert lake.waiting() == []


def test_the_log_holds_no_statistics_of_columns_after_upkeep(lake: Lake) -> None:
    for _ in range(8):
        lake.night()
    lake.keep_up(thorough=True)
    for name in (BRONZE, SILVER):
        added = DeltaTable(str(lake.path(name))).get_add_actions(flatten=True).schema.names
        assert [column for column in added if column.startswith(("min.", "max.", "null_count."))] == []


def test_readers_of_the_de_identified_root_may_read_what_upkeep_wrote(lake: Lake) -> None:
    shared = lake.settings.storage.deidentified
    shared.chmod(0o750)
    with private_files():
        for _ in range(6):
            lake.night()
        lake.keep_up(thorough=True)
    files = [path for path in shared.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {0o040}


def test_a_table_that_cannot_be_kept_up_is_named_and_the_others_are_done(lake: Lake) -> None:
    for _ in range(12):
        lake.night()
    damaged = next(lake.path(BRONZE).rglob("*.parquet"))
    content = damaged.read_bytes()
    damaged.write_bytes(b"not Parquet")
    with pytest.raises(UpkeepError, match=r"no upkeep of bronze.gp_journal \(\w+\); their rows are as they were"):
        lake.keep_up(thorough=True)
    assert on_disk(str(lake.path(PERSON))).files == 6
    damaged.write_bytes(content)
    lake.keep_up(thorough=True)
    assert on_disk(str(lake.path(BRONZE))).files == 12
    assert lake.waiting() == []


def test_nothing_is_written_where_nothing_is_due(lake: Lake) -> None:
    for _ in range(2):
        lake.night()
    state = files_of(lake)
    lake.keep_up()
    assert files_of(lake) == state
