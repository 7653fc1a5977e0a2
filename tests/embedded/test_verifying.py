"""What verify compares: rows as often as they occur, null with null, by source, entity and rule; and who is in a sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.tables import BelongsTo, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.storage.beside import StoreBeside
from pipelines.storage.paths import StoragePaths
from pipelines.storage.tables import TableStore
from pipelines.verifying import Compared, Difference, Sample, compare_rows, silver_and_after

NAME = TableName(Zone.OMOP, "measurement")
DDL = "measurement_id bigint, value double, unit string, _source string, _rule string"

Row = tuple[Any, ...]

ROWS: list[Row] = [
    (1, 5.5, None, "gp", "result"),
    (2, None, None, "gp", "result"),
    (3, 0.0, None, "gp", "reading"),
    (3, 0.0, None, "gp", "reading"),
    (4, 1.0, None, "acute", None),
]
"""One unit is known of none of them, and one row is there twice."""


def frame(session: SparkSession, rows: Sequence[Row], ddl: str = DDL) -> DataFrame:
    return session.createDataFrame(list(rows), ddl)


def compared(session: SparkSession, rebuilt: Sequence[Row], stored: Sequence[Row] = ROWS) -> Compared:
    return compare_rows(NAME, frame(session, stored), frame(session, rebuilt))


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], []], ids=["the same", "in another order", "none"])
def test_the_same_rows_are_equal(sail: SparkSession, rows: list[Row]) -> None:
    assert compared(sail, rows, rows) == Compared(NAME, len(rows), ())


@pytest.mark.parametrize(
    ("rebuilt", "differences"),
    [
        pytest.param([(1, 5.6, None, "gp", "result"), *ROWS[1:]], [("gp", "", "result", 1, 1)], id="a value"),
        pytest.param([(9, 5.5, None, "gp", "result"), *ROWS[1:]], [("gp", "", "result", 1, 1)], id="an id"),
        pytest.param([(1, None, None, "gp", "result"), *ROWS[1:]], [("gp", "", "result", 1, 1)], id="a null for a value"),
        pytest.param([ROWS[0], (2, 0.0, None, "gp", "result"), *ROWS[2:]], [("gp", "", "result", 1, 1)], id="zero for a null"),
        pytest.param([*ROWS[:3], ROWS[4]], [("gp", "", "reading", 1, 0)], id="a row that is there twice once"),
        pytest.param([*ROWS, ROWS[0]], [("gp", "", "result", 0, 1)], id="a row once more"),
        pytest.param(ROWS[:4], [("acute", "", "", 1, 0)], id="a row without a rule"),
        pytest.param([], [("acute", "", "", 1, 0), ("gp", "", "reading", 2, 0), ("gp", "", "result", 2, 0)], id="all rows"),
        pytest.param(
            [(1, 5.5, None, "gp", "reading"), *ROWS[1:]],
            [("gp", "", "reading", 0, 1), ("gp", "", "result", 1, 0)],
            id="the rule itself",
        ),
    ],
)
def test_what_differs_is_counted_by_rule(sail: SparkSession, rebuilt: list[Row], differences: list[tuple[Any, ...]]) -> None:
    assert compared(sail, rebuilt) == Compared(NAME, 5, tuple(Difference(*found) for found in differences))


def test_a_column_that_only_one_side_has_is_named_and_the_others_are_compared(sail: SparkSession) -> None:
    stored = frame(sail, ROWS)
    rebuilt = frame(sail, ROWS[:4]).withColumn("unit_concept_id", F.lit(1)).drop("unit")
    found = compare_rows(NAME, stored, rebuilt)
    assert found == Compared(NAME, 5, (Difference("acute", "", "", 1, 0),), ("unit", "unit_concept_id"))


def test_a_column_of_another_type_is_named(sail: SparkSession) -> None:
    rebuilt = frame(sail, ROWS).withColumn("measurement_id", F.col("measurement_id").cast("int"))
    assert compare_rows(NAME, frame(sail, ROWS), rebuilt) == Compared(NAME, 5, (), ("measurement_id",))


@pytest.mark.parametrize("columns", [("source", "rule"), ("_source", "mapping_rule")])
def test_rows_are_counted_by_the_names_that_a_table_has(sail: SparkSession, columns: tuple[str, str]) -> None:
    """A column of the name that holds something else than text is a value, and none to count by."""
    source, rule = columns
    stored = frame(sail, [(1, "gp", "result")], f"entity bigint, {source} string, {rule} string")
    assert compare_rows(NAME, stored, stored.limit(0)).differences == (Difference("gp", "", "result", 1, 0),)


@pytest.mark.parametrize(
    ("share", "ids"),
    [
        (0.01, [None, 9_999, 5_000_000]),
        (0.5, [None, 9_999, 10_000, 499_999, 5_000_000]),
        (1.0, [None, 9_999, 10_000, 499_999, 500_000, 5_000_000]),
    ],
)
def test_a_sample_is_of_the_ids_alone(sail: SparkSession, share: float, ids: list[int | None]) -> None:
    """Rows of nobody are in every sample; they are not people."""
    people = frame(sail, [(person,) for person in (500_000, 9_999, None, 5_000_000, 10_000, 499_999)], "person_id bigint")
    sample = Sample(share)
    found = people.where(sample.has(F.col("person_id"))).toArrow().to_pylist()
    assert sorted((row["person_id"] for row in found), key=lambda person: person or 0) == ids
    assert sample.people(people) == len(ids) - 1


def table(name: str, *inputs: str) -> Table:
    """A table that is only asked for what it reads."""
    zone, _, rest = name.partition(".")
    return Table(
        TableName(Zone(zone), rest),
        grain="",
        schema={"n": "int"},
        belongs_to=BelongsTo.WHOLE,
        make=lambda made: made.session.createDataFrame([], "n int"),
        inputs=tuple(TableName.of(read) for read in inputs),
    )


def test_silver_and_all_that_is_made_from_it() -> None:
    tables = [
        table("curation.link", "bronze.gp_patient"),
        table("silver.gp_patient", "bronze.gp_patient", "curation.link"),
        table("intermediate.local_maps"),
        table("intermediate.stem", "silver.gp_patient"),
        table("omop.person", "intermediate.stem", "vocabulary.concept"),
        table("ledger.references", "silver.gp_patient"),
        table("ledger.row_outcomes", "curation.link"),
    ]
    found = {str(name) for name in silver_and_after(tables)}
    assert found == {"silver.gp_patient", "intermediate.stem", "omop.person", "ledger.references"}


def test_a_store_beside_a_lake_reads_it_at_its_versions_and_writes_to_its_own_folders(
    sail: SparkSession, tmp_path: Path
) -> None:
    """Also when the lake goes on meanwhile."""
    lake = TableStore(sail, StoragePaths(tmp_path / "lake" / "restricted", tmp_path / "lake" / "deidentified"))
    bronze, silver = table("bronze.gp_patient"), table("silver.gp_patient")
    lake.write(frame(sail, [(1,)], "n int"), bronze)
    lake.write(frame(sail, [(7,)], "n int"), silver)
    own = StoragePaths(tmp_path / "own" / "restricted", tmp_path / "own" / "deidentified")
    beside = StoreBeside(sail, own, lake, {bronze.name: 0})
    lake.write(frame(sail, [(2,)], "n int"), bronze)
    assert [row["n"] for row in beside.read(*bronze.name).toArrow().to_pylist()] == [1]
    assert (beside.version(*bronze.name), beside.version(*silver.name)) == (0, None)
    beside.write(frame(sail, [(3,)], "n int"), silver)
    beside.write(frame(sail, [(4,)], "n int"), silver)
    assert [row["n"] for row in beside.read(*silver.name).toArrow().to_pylist()] == [4]
    assert [row["n"] for row in lake.read(*silver.name).toArrow().to_pylist()] == [7]
    assert (lake.version(*bronze.name), lake.version(*silver.name), beside.version(*silver.name)) == (1, 0, 1)
