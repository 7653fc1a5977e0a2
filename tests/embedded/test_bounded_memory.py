"""Steps that hold the small side of a join in memory and never the events: each with less memory than its events take.

A hash join of Sail cannot spill, so a side that does not fit ends the run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.ids import COLLISIONS_SCHEMA
from pipelines.contracts.derived import published_tables
from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings
from pipelines.omop.codes import CODE_MAP_SCHEMA, ROUTES_SCHEMA, code_bucket
from pipelines.omop.events import EventInputs, event_table
from pipelines.omop.stem import STEM_SCHEMA
from pipelines.quality.checks import Check, Rule, Zone
from pipelines.quality.measure import measures
from vocab.schemas import ddl_of

EVENTS = 400_000
LINKING = 3_000_000
VISITS = 20_000
CODES = 8


@pytest.fixture(scope="module")
def least(sail: SparkSession) -> Iterator[SparkSession]:
    """A session with the least memory that can be set. (`sail` is open before, so that it keeps its own settings.)"""
    with open_session(EngineSettings(memory_gib=0.5, parallelism=2)) as session:
        yield session


def test_events_are_never_kept_in_memory(least: SparkSession, tmp_path: Path) -> None:
    """Measurements of nearly a kilobyte each, of which one in four has no visit."""
    stored = str(tmp_path / "measurement")
    event_table(published_tables("5.4")["measurement"], _inputs(least, tmp_path)).write.format("delta").save(stored)
    made = least.read.format("delta").load(stored)
    counted = made.agg(
        F.count(F.lit(1)),
        F.count_distinct("measurement_id"),
        F.count("visit_occurrence_id"),
        F.sum(F.when(F.col("measurement_concept_id") == 3_000_000 + F.col("value_as_number") % CODES, 1).otherwise(0)),
    ).collect()
    assert [tuple(row) for row in counted] == [(EVENTS, EVENTS, EVENTS * 3 // 4, EVENTS)]


def test_some_codes_of_many_events_are_made_again_in_as_little(least: SparkSession, tmp_path: Path) -> None:
    made = event_table(published_tables("5.4")["measurement"], _inputs(least, tmp_path)).where("_code_bucket >= 0")
    made.write.format("delta").save(str(tmp_path / "part"))
    assert least.read.format("delta").load(str(tmp_path / "part")).count() == EVENTS


def _inputs(session: SparkSession, folder: Path) -> EventInputs:
    number = F.col("id")
    code = number % CODES
    given: dict[str, Column] = {
        "_source": F.lit("gp"),
        "_entity": F.lit("observation"),
        "_rule": F.lit("measured"),
        "_row_key": _key("row", number),
        "person_id": number % 1000,
        "concept_vocabulary": F.lit("SNOMED"),
        "concept_code": code.cast("string"),
        "concept_source_value": F.repeat(F.lit("what was measured "), 10),
        "value_source_value": F.repeat(F.lit("1234567890"), 40),
        "start_date": F.lit("2025-01-01"),
        "value_as_number": number.cast("double"),
        "visit_key": F.when(number % 4 > 0, _key("visit", number % VISITS)),
        "_code_bucket": code_bucket(F.lit("SNOMED"), code.cast("string"), F.lit(None).cast("bigint")),
        "_code_key": code,
        "_first_id": number,
    }
    columns = [given.get(name, F.lit(None)).cast(kind).alias(name) for name, kind in STEM_SCHEMA.items()]
    stem = _stored(session.range(EVENTS).select(*columns), folder, "stem")
    visits = session.range(VISITS).select(_key("visit", F.col("id")).alias("key"), F.col("id"))
    routes = [
        ("gp", "observation", "measured", "SNOMED", str(n), None, n, 1, 0, "measurement", 3_000_000 + n, 0, None, None)
        for n in range(CODES)
    ]
    return EventInputs(
        stem=stem,
        routes=_stored(session.createDataFrame(routes, ddl_of(ROUTES_SCHEMA)), folder, "routes"),
        concept_map=_stored(session.createDataFrame([], ddl_of(CODE_MAP_SCHEMA)), folder, "concept_map"),
        visits=_stored(visits, folder, "visits"),
        visit_details=_stored(visits.where("id < 10"), folder, "details"),
        providers=_stored(visits.where("id < 0"), folder, "providers"),
        collisions=_stored(session.createDataFrame([], ddl_of(COLLISIONS_SCHEMA)), folder, "collisions"),
        coded=("value", "unit"),
    )


def _key(name: str, number: Column) -> Column:
    return F.md5(F.concat(F.lit(name), number.cast("string")))


def _stored(frame: DataFrame, folder: Path, name: str) -> DataFrame:
    frame.write.format("delta").save(str(folder / name))
    return frame.sparkSession.read.format("delta").load(str(folder / name))


def test_links_are_compared_without_keeping_them(least: SparkSession, tmp_path: Path) -> None:
    """Six links of each of three million rows to people, of whom half are there."""
    parents = _stored(least.range(200_000).select(F.col("id").alias("person_id")), tmp_path, "person")
    names = [f"link{place}_id" for place in range(6)]
    pointing = _stored(
        least.range(LINKING).select(*[(F.col("id") % 400_000).alias(name) for name in names]), tmp_path, "pointing"
    )
    checks = [Check(Zone.OMOP, "pointing", Rule.FOREIGN_KEY, name, "person.person_id") for name in names]
    found = measures(least, checks, {(Zone.OMOP, "pointing"): pointing, (Zone.OMOP, "person"): parents}).collect()
    assert sorted((row["column"], row["rows"], row["violations"]) for row in found) == [
        (name, LINKING, 1_400_000) for name in names
    ]
