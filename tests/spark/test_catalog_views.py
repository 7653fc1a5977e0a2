"""Views of releases in the catalog of a real Spark: pinned, with the fields of the CDM only, and all of one release."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.publish import publish_catalog
from pipelines.contracts.cdm import cdm_tables
from pipelines.errors import ConfigError
from pipelines.release.model import Code, Gates, Release
from pipelines.release.publish.catalog_views import CatalogSchema, drop_views_of_others, publish_views
from pipelines.release.publish.duckdb_file import PinnedTable
from pipelines.settings import Settings

CDM = {name: cdm_tables("5.4")[name] for name in ("death", "location", "cohort")}
FIRST, SECOND = "20260105-aaaaaaaa", "20260106-bbbbbbbb"
CURRENT = CatalogSchema("cdm_of_test")


def release(release_id: str, day: date) -> Release:
    return Release(
        release_id=release_id,
        run_id="r",
        run_date=day,
        cdm_version="5.4",
        vocabulary_version="demo",
        code=Code(version="0"),
        configuration="c",
        key_id="k",
        extracts=(),
        opt_outs={},
        input_fingerprint="f",
        gates=Gates(checks=1, failed=0, warnings=0),
        tables=(),
    )


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Iterator[dict[str, PinnedTable]]:
    """Two tables with three versions each, of 1, 2 and 3 rows; the schemas are dropped afterwards."""
    for name in ("death", "location"):
        schema = CDM[name].schema
        for rows in (1, 2, 3):
            values = [
                F.col("id").alias(f"{name}_id" if name == "location" else "person_id"),
                *[
                    F.lit(None).cast(kind).alias(column)
                    for column, kind in schema.items()
                    if column not in ("location_id", "person_id")
                ],
                F.lit("hidden").alias("_row_key"),
            ]
            spark.range(rows).select(*values).write.format("delta").mode("overwrite").save(str(tmp_path / name))
    yield {name: PinnedTable(str(tmp_path / name), 0) for name in ("death", "location")}
    for schema_name in [row[0] for row in spark.sql("SHOW SCHEMAS LIKE 'cdm_of_test*'").collect()]:
        spark.sql(f"DROP SCHEMA {schema_name} CASCADE")


def at(tables: dict[str, PinnedTable], version: int) -> dict[str, PinnedTable]:
    return {name: PinnedTable(table.path, version) for name, table in tables.items()}


def rows(spark: SparkSession, schema: str, name: str) -> int:
    return spark.sql(f"SELECT * FROM {schema}.{name}").count()


def test_each_release_has_a_schema_that_stays_and_the_current_one_is_followed(
    spark: SparkSession, tables: dict[str, PinnedTable]
) -> None:
    first, second = CURRENT.of_release(FIRST).name, CURRENT.of_release(SECOND).name
    assert (first, second) == ("cdm_of_test_20260105_aaaaaaaa", "cdm_of_test_20260106_bbbbbbbb")
    publish_views(spark, CURRENT, release(FIRST, date(2026, 1, 5)), at(tables, 0), CDM)
    assert [rows(spark, CURRENT.name, name) for name in CDM] == [1, 1, 0]
    assert spark.sql("SELECT * FROM cdm_of_test.death").columns == list(CDM["death"].schema)
    assert dict(spark.sql("SELECT * FROM cdm_of_test.cohort").dtypes) == CDM["cohort"].schema
    publish_views(spark, CURRENT, release(SECOND, date(2026, 1, 6)), at(tables, 1), CDM)
    for schema, expected in ((first, 1), (second, 2), (CURRENT.name, 2)):
        assert [rows(spark, schema, name) for name in ("death", "location")] == [expected, expected]
    told = [tuple(row) for row in spark.sql("SELECT * FROM cdm_of_test.current_release").collect()]
    assert told == [(SECOND, second, "2026-01-06")]
    before = at(tables, 1)
    publish_views(spark, CURRENT, release(SECOND, date(2026, 1, 6)), before, CDM)
    assert rows(spark, CURRENT.name, "death") == 2
    spark.sql("CREATE SCHEMA cdm_of_test_20260101_cccccccc COMMENT 'of somebody else'")
    assert drop_views_of_others(spark, CURRENT, [SECOND]) == [first]
    left = {row[0] for row in spark.sql("SHOW SCHEMAS LIKE 'cdm_of_test*'").collect()}
    assert left == {CURRENT.name, second, "cdm_of_test_20260101_cccccccc"}


def test_a_publication_that_stops_halfway_leaves_the_current_release(
    spark: SparkSession, tables: dict[str, PinnedTable], tmp_path: Path
) -> None:
    publish_views(spark, CURRENT, release(FIRST, date(2026, 1, 5)), at(tables, 0), CDM)
    with pytest.raises(Exception, match="version"):
        broken = at(tables, 1) | {"location": PinnedTable(str(tmp_path / "location"), 99)}
        publish_views(spark, CURRENT, release(SECOND, date(2026, 1, 6)), broken, CDM)
    assert [rows(spark, CURRENT.name, name) for name in ("death", "location")] == [1, 1]
    assert spark.sql("SELECT release_id FROM cdm_of_test.current_release").collect()[0][0] == FIRST


@pytest.mark.parametrize(
    ("text", "sql"),
    [("cdm", "`cdm`"), ("research.cdm_2", "`research`.`cdm_2`"), ("a b", None), ("a.b.c", None), ("", None), ("c`", None)],
)
def test_a_schema_is_named_by_itself_or_within_a_catalog(text: str, sql: str | None) -> None:
    if sql is None:
        with pytest.raises(ConfigError, match="expected SCHEMA or CATALOG"):
            CatalogSchema.of(text)
    else:
        assert CatalogSchema.of(text).sql == sql


def test_the_embedded_engine_has_no_catalog(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"set engine\.kind to spark or remote"):
        publish_catalog(settings, "cdm")
