"""A session for little reads a table as the files that its log names: rows, types and order of columns are those of Delta."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipelines.contracts.tables import Partitions
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError
from pipelines.spark_options import FILES_ARE_LISTED
from pipelines.storage.tables import StoragePaths, TableStore
from vocab.schemas import ddl_of

SCHEMA = {"part": "string", "id": "bigint", "on": "date", "at": "timestamp", "amount": "decimal(18,4)", "share": "double"}
ROWS = [
    ("a", 1, date(202, 3, 4), datetime(2026, 1, 5, 12, tzinfo=UTC), None, 0.5),
    ("x=1/ü %3A [b]", 2, None, None, None, None),
    (None, 3, date(9999, 12, 31), datetime(1850, 1, 1, tzinfo=UTC), None, -1.0),
]
A, B = Partitions("part", ("a",)), Partitions("part", ("b",))


@pytest.fixture
def store(spark: SparkSession, tmp_path: Path) -> TableStore:
    """A lake in a folder whose name is not itself as part of a URI."""
    return store_in(spark, tmp_path / "a lake ü")


def store_in(spark: SparkSession, lake: Path) -> TableStore:
    return TableStore(spark, StoragePaths(lake / "restricted", lake / "deidentified"))


def as_delta(store: TableStore, zone: Zone, name: str, version: int | None = None) -> DataFrame:
    reader = store.session.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(store.path(zone, name))


def frame(store: TableStore, rows: Sequence[tuple[object, ...]]) -> DataFrame:
    return store.session.createDataFrame(rows, ddl_of(SCHEMA))


def assert_as_delta(store: TableStore, zone: Zone, name: str, version: int | None = None) -> int:
    read, expected = store.read(zone, name, version), as_delta(store, zone, name, version)
    assert read.schema == expected.schema
    rows = sorted(map(repr, read.collect()))
    assert rows == sorted(map(repr, expected.collect()))
    return len(rows)


def test_rows_types_and_partitions_are_those_of_delta(store: TableStore) -> None:
    assert store.session.conf.get(FILES_ARE_LISTED) == "true"
    store.overwrite(frame(store, ROWS), Zone.SILVER, "t", SCHEMA, ("part",))
    assert assert_as_delta(store, Zone.SILVER, "t") == 3
    assert [row.id for row in store.read(Zone.SILVER, "t").where("part = 'x=1/ü %3A [b]'").collect()] == [2]


def test_each_version_is_read_as_it_was(store: TableStore) -> None:
    store.overwrite(frame(store, ROWS), Zone.SILVER, "t", SCHEMA)
    store.overwrite(store.read(Zone.SILVER, "t").where("id > 1"), Zone.SILVER, "t", SCHEMA)
    assert [assert_as_delta(store, Zone.SILVER, "t", version) for version in (0, 1, None)] == [3, 2, 2]


def test_a_table_without_files_has_its_columns(store: TableStore) -> None:
    store.overwrite(frame(store, []), Zone.SILVER, "t", SCHEMA, ("part",))
    assert not list(Path(store.path(Zone.SILVER, "t")).rglob("*.parquet"))
    assert assert_as_delta(store, Zone.SILVER, "t") == 0


def test_a_column_that_was_added_later_is_null_in_earlier_rows(store: TableStore) -> None:
    store.replace_partitions(frame(store, ROWS[:1]), Zone.SILVER, "t", SCHEMA, A)
    wider = SCHEMA | {"more": "string"}
    added = store.session.createDataFrame([("b", 4, None, None, None, None, "new")], ddl_of(wider))
    store.replace_partitions(added, Zone.SILVER, "t", wider, B)
    assert assert_as_delta(store, Zone.SILVER, "t") == 2
    assert {row.id: row.more for row in store.read(Zone.SILVER, "t").collect()} == {1: None, 4: "new"}


def test_more_files_than_spark_would_look_for_at_once(store: TableStore) -> None:
    many = store.session.range(70).selectExpr("cast(id as string) part", "id")
    store.overwrite(many, Zone.SILVER, "t", {"part": "string", "id": "bigint"}, ("part",))
    assert assert_as_delta(store, Zone.SILVER, "t") == 70


def test_a_folder_with_the_name_of_a_pattern_is_read_once(spark: SparkSession, tmp_path: Path) -> None:
    store = store_in(spark, tmp_path / "lake {1} [a]*")
    store.overwrite(frame(store, ROWS).repartition(3), Zone.SILVER, "t", SCHEMA)
    assert assert_as_delta(store, Zone.SILVER, "t") == 3


def test_a_table_that_is_not_there_is_named(store: TableStore) -> None:
    with pytest.raises(OmopPipelineError, match=r"no table silver\.t"):
        store.read(Zone.SILVER, "t")


def test_rows_are_joined_grouped_and_ranked_where_they_are(spark: SparkSession, store: TableStore) -> None:
    few = {"id": "bigint", "code": "string"}
    codes = spark.range(2000).select("id", F.concat(F.lit("code "), F.col("id").cast("string")).alias("code"))
    store.overwrite(frame(store, ROWS), Zone.SILVER, "t", SCHEMA)
    store.overwrite(codes, Zone.SILVER, "codes", few)
    rows, stored = store.read(Zone.SILVER, "t"), store.read(Zone.SILVER, "codes")
    named = rows.join(F.broadcast(stored), on="id", how="left").join(stored, on="id", how="left_semi")
    ranked = named.withColumn("n", F.row_number().over(Window.partitionBy("share").orderBy("id")))
    counted = ranked.groupBy("n").count()
    assert [tuple(row) for row in counted.collect()] == [(1, 3)]
    plan = counted._explain_string()  # type: ignore[operator]
    assert plan.count("FileScan parquet") == 3
    assert "Exchange" not in plan
