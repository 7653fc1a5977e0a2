"""Delta tables by zone: writes of whole tables and of partitions, and what is read of them without an engine."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from pipelines.columns.frames import union_all
from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import DocumentError, OmopPipelineError, ReleaseError
from pipelines.release.reading import read_delta
from pipelines.storage.maintenance import facts_of
from pipelines.storage.paths import StoragePaths
from pipelines.storage.tables import TableStore

SCHEMA = {"run": "string", "name": "string", "rows": "bigint"}
COLUMNS = tuple(SCHEMA)
BUCKETS = {"bucket": "int", "name": "string"}


@pytest.fixture
def store(sail: SparkSession, tmp_path: Path) -> TableStore:
    """An empty lakehouse."""
    return TableStore(sail, StoragePaths(tmp_path / "restricted", tmp_path / "deidentified"))


def frame(store: TableStore, rows: Sequence[tuple[Any, ...]], ddl: str = "run string, name string, rows int") -> DataFrame:
    return store.session.createDataFrame(list(rows), ddl)


def stored(store: TableStore, zone: Zone, name: str, columns: Sequence[str] = COLUMNS) -> list[tuple[Any, ...]]:
    return sorted(tuple(row) for row in store.read(zone, name).select(*columns).collect())


def runs(*names: str) -> Partitions:
    return Partitions("run", names)


def test_tables_lie_below_the_root_of_their_zone(tmp_path: Path) -> None:
    paths = StoragePaths(tmp_path / "r", tmp_path / "d")
    roots = {zone: Path(paths.path(zone, "t")).relative_to(tmp_path).parts for zone in Zone}
    assert roots == {
        Zone.BRONZE: ("r", "bronze", "t"),
        Zone.CURATION: ("r", "curation", "t"),
        Zone.QUARANTINE: ("r", "quarantine", "t"),
        Zone.LEDGER: ("r", "ledger", "t"),
        Zone.VOCABULARY: ("d", "vocabulary", "t"),
        Zone.SILVER: ("d", "silver", "t"),
        Zone.INTERMEDIATE: ("d", "intermediate", "t"),
        Zone.OMOP: ("d", "omop", "t"),
    }


def test_partitions_are_replaced_and_the_others_stay(store: TableStore) -> None:
    both = frame(store, [("r1", "a", 1), ("r2", "b", 2), ("r3", "c", 3)])
    store.replace_partitions(both, Zone.LEDGER, "rows", SCHEMA, runs("r1", "r2"))
    assert stored(store, Zone.LEDGER, "rows") == [("r1", "a", 1), ("r2", "b", 2)]
    store.replace_partitions(frame(store, [("r2", "new", 9), ("r1", "no", 0)]), Zone.LEDGER, "rows", SCHEMA, runs("r2"))
    assert stored(store, Zone.LEDGER, "rows") == [("r1", "a", 1), ("r2", "new", 9)]
    store.replace_partitions(frame(store, []), Zone.LEDGER, "rows", SCHEMA, runs("r1"))
    assert stored(store, Zone.LEDGER, "rows") == [("r2", "new", 9)]
    assert dict(store.read(Zone.LEDGER, "rows").dtypes) == SCHEMA


def test_tables_stay_below_a_root_of_every_character_that_settings_take(sail: SparkSession, tmp_path: Path) -> None:
    root = tmp_path / "root" / "aZ9-_.!$+&':;,=@()"
    store = TableStore(sail, StoragePaths(root / "restricted", root / "deidentified"))
    store.overwrite(frame(store, [("r1", "a", 1), ("r2", "b", 2)]), Zone.LEDGER, "rows", SCHEMA, ("run",))
    store.replace_partitions(frame(store, [("r1", "c", 3)]), Zone.LEDGER, "rows", SCHEMA, runs("r1"))
    assert stored(store, Zone.LEDGER, "rows") == [("r1", "c", 3), ("r2", "b", 2)]
    assert [path.name for path in root.parent.iterdir()] == [root.name]


def test_replacing_partitions_again_changes_no_row(store: TableStore) -> None:
    for _ in range(2):
        store.replace_partitions(frame(store, [("r1", "a", 1)]), Zone.LEDGER, "rows", SCHEMA, runs("r1"))
    assert stored(store, Zone.LEDGER, "rows") == [("r1", "a", 1)]


def test_rows_without_a_partition_value_are_left_out(store: TableStore) -> None:
    rows = frame(store, [("r1", "a", 1), (None, "lost", 2)])
    store.replace_partitions(rows, Zone.LEDGER, "rows", SCHEMA, runs("r1"))
    assert stored(store, Zone.LEDGER, "rows") == [("r1", "a", 1)]


def test_partitions_of_numbers_are_replaced_by_number(store: TableStore) -> None:
    ddl = "bucket int, name string"
    rows = frame(store, [(bucket, f"n{bucket}") for bucket in (1, 2, 12)], ddl)
    store.overwrite(rows, Zone.OMOP, "events", BUCKETS, ("bucket",))
    new = frame(store, [(1, "new"), (12, "no")], ddl)
    store.replace_partitions(new, Zone.OMOP, "events", BUCKETS, Partitions("bucket", (1, 2)))
    assert stored(store, Zone.OMOP, "events", tuple(BUCKETS)) == [(1, "new"), (12, "n12")]
    assert store.partition_values(Zone.OMOP, "events", "bucket") == {"1", "12"}


def test_deleted_partitions_are_gone_and_the_others_stay(store: TableStore) -> None:
    rows = frame(store, [("r1", "a", 1), ("r2", "b", 2)])
    store.replace_partitions(rows, Zone.LEDGER, "rows", SCHEMA, runs("r1", "r2"))
    store.delete_partitions(Zone.LEDGER, "rows", runs("r1", "r7"))
    assert stored(store, Zone.LEDGER, "rows") == [("r2", "b", 2)]
    assert store.partition_values(Zone.LEDGER, "rows", "run") == {"r2"}


def test_partition_values_are_those_with_rows(store: TableStore) -> None:
    assert store.partition_values(Zone.LEDGER, "rows", "run") == frozenset()
    store.replace_partitions(frame(store, [("r1", "a", 1)]), Zone.LEDGER, "rows", SCHEMA, runs("r1", "r2"))
    assert store.partition_values(Zone.LEDGER, "rows", "run") == {"r1"}


def test_records_are_read_without_an_engine(store: TableStore) -> None:
    assert store.paths.records(Zone.LEDGER, "rows", COLUMNS) == []
    rows = frame(store, [("r1", "a", 1), ("r2", "b", 2)])
    store.replace_partitions(rows, Zone.LEDGER, "rows", SCHEMA, runs("r1", "r2"))
    assert sorted(store.paths.records(Zone.LEDGER, "rows", COLUMNS), key=lambda row: row["run"]) == [
        {"run": "r1", "name": "a", "rows": 1},
        {"run": "r2", "name": "b", "rows": 2},
    ]
    assert store.paths.records(Zone.LEDGER, "rows", ("name",), where=("run", "r2")) == [{"name": "b"}]


def test_a_table_of_an_earlier_version_gets_the_columns_that_it_lacks(store: TableStore) -> None:
    store.replace_partitions(frame(store, [("r1", "a", 1)]), Zone.LEDGER, "rows", SCHEMA, runs("r1"))
    wider = {**SCHEMA, "share": "double", "total": "bigint", "until": "date", "passed": "boolean"}
    assert store.paths.records(Zone.LEDGER, "rows", ("run", "until")) == [{"run": "r1", "until": None}]
    new = frame(store, [("r2", "b", 2, 0.5, 7, date(2026, 1, 5), True)], ", ".join(f"{n} {kind}" for n, kind in wider.items()))
    for _ in range(2):
        store.replace_partitions(new, Zone.LEDGER, "rows", wider, runs("r2"))
    assert dict(store.read(Zone.LEDGER, "rows").dtypes) == wider
    assert store.read(Zone.LEDGER, "rows").orderBy("run").toArrow().to_pylist() == [
        dict(zip(wider, ("r1", "a", 1, None, None, None, None), strict=True)),
        dict(zip(wider, ("r2", "b", 2, 0.5, 7, date(2026, 1, 5), True), strict=True)),
    ]
    assert store.paths.records(Zone.LEDGER, "rows", ("total",), where=("run", "r1")) == [{"total": None}]


def test_a_table_keeps_the_columns_that_are_declared_no_longer(store: TableStore) -> None:
    wider = {**SCHEMA, "until": "date"}
    columns = ", ".join(f"{n} {kind}" for n, kind in wider.items())
    old = frame(store, [("r1", "a", 1, date(2026, 1, 5)), ("r2", "b", 2, date(2026, 1, 6))], columns)
    store.replace_partitions(old, Zone.LEDGER, "rows", wider, runs("r1", "r2"))
    narrow = {"run": "string", "name": "string", "share": "double"}
    new = frame(store, [("r2", "c", 0.5), ("r3", "d", 0.7)], "run string, name string, share double")
    for _ in range(2):
        store.replace_partitions(new, Zone.LEDGER, "rows", narrow, runs("r2", "r3"))
    assert dict(store.read(Zone.LEDGER, "rows").dtypes) == {**wider, "share": "double"}
    assert stored(store, Zone.LEDGER, "rows", ("run", "name", "rows", "until", "share")) == [
        ("r1", "a", 1, date(2026, 1, 5), None),
        ("r2", "c", None, None, 0.5),
        ("r3", "d", None, None, 0.7),
    ]


def test_the_whole_table_is_replaced_with_its_columns_and_earlier_versions_stay(store: TableStore) -> None:
    store.overwrite(frame(store, [("r1", "a", 1)]), Zone.SILVER, "t", SCHEMA)
    first = store.version(Zone.SILVER, "t")
    store.overwrite(frame(store, [("b", 2)], "name string, more int"), Zone.SILVER, "t", {"more": "bigint", "name": "string"})
    assert stored(store, Zone.SILVER, "t", ("more", "name")) == [(2, "b")]
    assert [tuple(row) for row in store.read(Zone.SILVER, "t", version=first).select(*COLUMNS).collect()] == [("r1", "a", 1)]


def test_a_table_is_written_as_it_is_declared(store: TableStore) -> None:
    table = Table(
        name=TableName(Zone.SILVER, "declared"),
        grain="one row per name",
        schema=SCHEMA,
        belongs_to=BelongsTo.LOAD,
        make=lambda inputs: inputs.session.range(0),
        partition_by=("run",),
    )
    rows = [("r1", "a", 1), ("r1", "b", 1), ("r2", "c", 2)]
    first = store.write(frame(store, rows).repartition(3), table)
    assert len(DeltaTable(store.path(*table.name)).file_uris()) == 2
    second = store.write(frame(store, [("r2", "new", 3), ("r3", "no", 4)]), table, runs("r2"))
    assert second == first + 1 == store.version(*table.name)
    assert stored(store, *table.name) == [("r1", "a", 1), ("r1", "b", 1), ("r2", "new", 3)]


@pytest.mark.parametrize("zone", list(Zone))
def test_logs_hold_no_values(store: TableStore, zone: Zone) -> None:
    for name in ("Smith", "Jones"):
        store.overwrite(frame(store, [("r1", name, 1)]), zone, "t", SCHEMA)
        store.replace_partitions(frame(store, [("r1", name, 1)]), zone, "by_run", SCHEMA, runs("r1"))
    logs = "".join(path.read_text(encoding="utf-8") for path in Path(store.path(zone, "")).glob("*/_delta_log/*.json"))
    assert logs.count("numRecords") >= 4
    assert not [name for name in ("Smith", "Jones", "minValues") if f"{name}" in logs.replace('\\"minValues\\":{}', "")]


@pytest.mark.parametrize("left", [(), ("_commit_1.json.tmp",), (".tmp",)], ids=str)
def test_a_log_without_a_commit_does_not_block_its_table(store: TableStore, left: tuple[str, ...]) -> None:
    """What a first write leaves that was killed before its commit."""
    for name in ("whole", "parts"):
        log = Path(store.path(Zone.SILVER, name)) / "_delta_log"
        log.mkdir(parents=True)
        for file in left:
            (log / file).touch()
        (log.parent / "part-0.parquet").touch()
        assert not store.exists(Zone.SILVER, name)
        with pytest.raises(OmopPipelineError, match=f"no table silver.{name}"):
            store.read(Zone.SILVER, name)
    store.overwrite(frame(store, [("r1", "a", 1)]), Zone.SILVER, "whole", SCHEMA)
    store.replace_partitions(frame(store, [("r1", "a", 1)]), Zone.SILVER, "parts", SCHEMA, runs("r1"))
    assert stored(store, Zone.SILVER, "whole") == stored(store, Zone.SILVER, "parts") == [("r1", "a", 1)]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        pytest.param(lambda newest: newest.write_bytes(b""), "version 1 in its log is an empty file", id="no bytes"),
        pytest.param(lambda newest: newest.write_bytes(newest.read_bytes()[:150]), "its log is damaged", id="cut short"),
        pytest.param(lambda newest: newest.write_bytes(bytes(300)), "its log is damaged", id="zeros"),
    ],
)
def test_a_table_with_a_damaged_log_does_not_count_as_one_that_is_not_there(
    store: TableStore, damage: Callable[[Path], object], fault: str
) -> None:
    """What a machine without power, a full disk or a copy that was cut short leaves."""
    for run in ("r1", "r2"):
        store.replace_partitions(frame(store, [(run, "a", 1)]), Zone.LEDGER, "t", SCHEMA, runs(run))
    damage(Path(store.path(Zone.LEDGER, "t")) / "_delta_log" / f"{1:020}.json")
    asked: list[Callable[[], object]] = [
        lambda: store.version(Zone.LEDGER, "t"),
        lambda: store.paths.records(Zone.LEDGER, "t", COLUMNS),
        lambda: store.paths.row_count(Zone.LEDGER, "t"),
        lambda: store.partition_values(Zone.LEDGER, "t", "run"),
        lambda: store.replace_partitions(frame(store, [("r3", "a", 1)]), Zone.LEDGER, "t", SCHEMA, runs("r3")),
        lambda: store.overwrite(frame(store, [("r3", "a", 1)]), Zone.LEDGER, "t", SCHEMA),
        lambda: facts_of(store.path(Zone.LEDGER, "t")),
    ]
    for ask in asked:
        with pytest.raises(DocumentError, match=f"/ledger/t: {fault}; see who may read it, or restore the table from a backup"):
            ask()
    with pytest.raises(ReleaseError, match="/ledger/t at version 1 cannot be read"):
        read_delta(store.path(Zone.LEDGER, "t"), 1)


def test_a_table_that_is_not_there_is_an_error_with_the_next_step(store: TableStore) -> None:
    assert store.version(Zone.OMOP, "person") is None
    assert not store.exists(Zone.OMOP, "person")
    with pytest.raises(OmopPipelineError, match=r"no table omop\.person; has the stage before this one been run"):
        store.read(Zone.OMOP, "person")


@pytest.mark.parametrize("tables", [2, 3, 4, 6, 9])
def test_the_union_of_stored_tables_can_be_filtered_and_replaces_partitions(store: TableStore, tables: int) -> None:
    names = [f"part_{number}" for number in range(tables)]
    for number, name in enumerate(names):
        rows = [(bucket, f"{number}") for bucket in range(3)]
        store.overwrite(frame(store, rows, "bucket int, name string"), Zone.INTERMEDIATE, name, BUCKETS)
    united = union_all([store.read(Zone.INTERMEDIATE, name) for name in names])
    store.replace_partitions(united, Zone.OMOP, "events", BUCKETS, Partitions("bucket", (0, 2)))
    expected = [(bucket, f"{number}") for bucket in (0, 2) for number in range(tables)]
    assert stored(store, Zone.OMOP, "events", tuple(BUCKETS)) == expected
    assert united.select("bucket").where("bucket > 1").count() == tables


def test_every_version_can_be_read_after_the_engine_has_written_checkpoints(store: TableStore) -> None:
    for number in range(23):
        store.overwrite(frame(store, [("r1", "a", number)]), Zone.OMOP, "t", SCHEMA)
    log = Path(store.path(Zone.OMOP, "t")) / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    for version in (22, 20, 12, 11, 9, 3, 0):
        rows = store.read(Zone.OMOP, "t", version=version).select("rows").collect()
        assert [row["rows"] for row in rows] == [version], version
