"""A table that is created in the catalog of a real Spark says what it is, and refuses rows that nothing can have made."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError
from pipelines.storage.catalog import CatalogTables
from pipelines.storage.tables import TableStore

SCHEMA = {"visit_id": "bigint", "person_id": "bigint", "said": "string"}
VISITS = Table(
    name=TableName(Zone.OMOP, "visits"),
    grain="one row per visit; 'said' is the patient's",
    schema=SCHEMA,
    belongs_to=BelongsTo.PERSON,
    make=lambda inputs: inputs.read(Zone.SILVER, "visits"),
    notes={"visit_id": "names one row", "said": r"the patient's \ words"},
    never_null=frozenset({"visit_id"}),
)
LOADED = replace(
    VISITS,
    name=TableName(Zone.BRONZE, "visits"),
    schema=SCHEMA | {"_load_id": "string"},
    partition_by=("_load_id",),
    never_null=frozenset({"_load_id"}),
)


@pytest.fixture
def store(spark: SparkSession) -> Iterator[TableStore]:
    places = CatalogTables("spark_catalog", "spark_catalog", "of_test_", 30, lambda: spark)
    yield TableStore(spark, places)
    for zone in (Zone.OMOP, Zone.BRONZE):
        spark.sql(f"DROP SCHEMA IF EXISTS {places.schema(zone)} CASCADE")


def visits(store: TableStore, *rows: tuple[int | None, int | None, str | None]) -> DataFrame:
    return store.session.createDataFrame(list(rows), "visit_id bigint, person_id bigint, said string")


def columns_of(store: TableStore, table: Table) -> dict[str, tuple[bool, str | None]]:
    """Whether each column may be null, and what is said of it."""
    fields = store.read(*table.name).schema.fields
    return {field.name: (field.nullable, field.metadata.get("comment")) for field in fields}


def test_a_new_table_says_what_it_is_in_one_statement(store: TableStore) -> None:
    assert store.write(visits(store, (1, 7, "a")), VISITS) == 1  # created empty, then written
    assert columns_of(store, VISITS) == {
        "visit_id": (False, "names one row"),
        "person_id": (True, "pseudonym of the person"),
        "said": (True, r"the patient's \ words"),
    }
    detail = store.session.sql(f"DESCRIBE DETAIL {store.path(*VISITS.name)}").collect()[0]
    assert (detail["description"], detail["clusteringColumns"]) == (VISITS.grain, ["person_id"])
    assert detail["properties"]["delta.dataSkippingStatsColumns"] == "person_id"
    assert detail["properties"]["delta.deletedFileRetentionDuration"] == "interval 30 days"


def test_a_row_without_a_key_is_refused_and_the_table_stays(store: TableStore) -> None:
    store.write(visits(store, (1, 7, "a")), VISITS)
    with pytest.raises(OmopPipelineError, match=r"^omop\.visits: a row has no value in a column that is never null"):
        store.write(visits(store, (2, 7, "secret"), (None, 7, "secret")), VISITS)
    assert [tuple(row) for row in store.read(*VISITS.name).collect()] == [(1, 7, "a")]


def test_a_table_written_in_parts_says_what_it_is_too(store: TableStore) -> None:
    for load in ("one", "two", "one"):
        rows = visits(store, (None, 7, load)).withColumn("_load_id", F.lit(load))
        store.write(rows, LOADED, Partitions("_load_id", (load,)))
    assert columns_of(store, LOADED)["_load_id"] == (False, "load that brought the row")
    assert columns_of(store, LOADED)["said"] == (True, r"the patient's \ words")
    assert sorted(row["said"] for row in store.read(*LOADED.name).collect()) == ["one", "two"]


def test_another_column_gives_the_table_anew(store: TableStore) -> None:
    store.write(visits(store, (1, 7, "a")), VISITS)
    wider = replace(VISITS, schema=SCHEMA | {"more": "string"}, notes={"more": "what is new"})
    version = store.write(visits(store, (2, 8, "b")).withColumn("more", F.lit("c")), wider)
    assert columns_of(store, wider)["more"] == (True, "what is new")
    assert store.read(*VISITS.name, version - 2).columns == list(SCHEMA)


def test_a_table_written_in_parts_gets_new_columns_and_keeps_those_declared_no_longer(store: TableStore) -> None:
    first = visits(store, (1, 7, "a")).withColumn("_load_id", F.lit("one"))
    store.write(first, LOADED, Partitions("_load_id", ("one",)))
    schema = {name: kind for name, kind in LOADED.schema.items() if name != "said"} | {"more": "string"}
    second = store.session.createDataFrame(
        [(2, 8, "two", "b")], "visit_id bigint, person_id bigint, _load_id string, more string"
    )
    store.write(second, replace(LOADED, schema=schema, notes={}), Partitions("_load_id", ("two",)))
    columns = ("visit_id", "said", "more", "_load_id")
    assert sorted(tuple(row) for row in store.read(*LOADED.name).select(*columns).collect()) == [
        (1, "a", None, "one"),
        (2, None, "b", "two"),
    ]
    assert store.paths.records(*LOADED.name, ("more", "later"), where=("_load_id", "two")) == [{"more": "b", "later": None}]
