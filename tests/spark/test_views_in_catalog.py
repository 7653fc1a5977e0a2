"""Views of releases in the catalog of a real Spark: pinned, with the fields of the CDM only, and all of one release."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.publish import Target, publish_to
from pipelines.contracts.cdm import cdm_tables
from pipelines.errors import ConfigError
from pipelines.release.model import Release
from pipelines.release.publish.catalog_views import CatalogSchema, drop_views_of_others, publish_views
from pipelines.settings import Settings
from tests.builders.publications import RELEASE

CDM = {name: cdm_tables("5.4")[name] for name in ("cohort", "death")}
FIRST, SECOND = "20260105-aaaaaaaa", "20260106-bbbbbbbb"
CURRENT = CatalogSchema("cdm_of_test")


def release(release_id: str, day: date) -> Release:
    return RELEASE.model_copy(update={"release_id": release_id, "run_date": day})


@pytest.fixture
def deaths(spark: SparkSession, tmp_path: Path) -> Iterator[str]:
    """The deaths in two versions, of 1 and 2 rows; schemas of the test are dropped afterwards."""
    path = tmp_path / "death"
    path.mkdir()
    for rows in (1, 2):
        columns: dict[str, pa.Array] = {
            name: pa.array([None] * rows, {"bigint": pa.int64(), "date": pa.date32()}.get(kind, pa.string()))
            for name, kind in CDM["death"].schema.items()
            if kind != "timestamp"
        }
        columns |= {
            "death_datetime": pa.array([None] * rows, pa.timestamp("us", "UTC")),
            "_row_key": pa.array(["hidden"] * rows),
        }
        write_deltalake(path, pa.table(columns), mode="overwrite")
    yield str(path)
    for name in schemas(spark):
        spark.sql(f"DROP SCHEMA {name} CASCADE")


def schemas(spark: SparkSession) -> set[str]:
    return {row[0] for row in spark.sql("SHOW SCHEMAS LIKE 'cdm_of_test*'").collect()}


def publish(spark: SparkSession, release_id: str, path: str, version: int) -> None:
    day = date(2026, 1, int(release_id[6:8]))
    publish_views(spark, CURRENT, release(release_id, day), {"death": f"delta.`{path}` VERSION AS OF {version}"}, CDM)


def rows(spark: SparkSession, *views: str) -> list[int]:
    """The number of rows of some views."""
    counts = ", ".join(f"(SELECT count(*) FROM {view})" for view in views)
    return list(spark.sql(f"SELECT {counts}").collect()[0])


def test_each_release_has_a_schema_that_stays_and_the_current_one_is_followed(spark: SparkSession, deaths: str) -> None:
    first, second = "cdm_of_test_20260105_aaaaaaaa", "cdm_of_test_20260106_bbbbbbbb"
    publish(spark, FIRST, deaths, 0)
    assert rows(spark, "cdm_of_test.death", "cdm_of_test.cohort") == [1, 0]
    assert spark.sql("SELECT * FROM cdm_of_test.death").columns == list(CDM["death"].schema)
    assert dict(spark.sql("SELECT * FROM cdm_of_test.cohort").dtypes) == CDM["cohort"].schema
    for _ in range(2):  # doing it again changes nothing
        publish(spark, SECOND, deaths, 1)
    assert rows(spark, f"{first}.death", f"{second}.death", "cdm_of_test.death") == [1, 2, 2]
    current = [tuple(row) for row in spark.sql("SELECT * FROM cdm_of_test.current_release").collect()]
    assert current == [(SECOND, second, "2026-01-06")]
    spark.sql("CREATE SCHEMA cdm_of_test_20260101_cccccccc COMMENT 'of somebody else'")
    assert drop_views_of_others(spark, CURRENT, [SECOND]) == [first]
    assert schemas(spark) == {"cdm_of_test", second, "cdm_of_test_20260101_cccccccc"}


def test_a_publication_that_stops_halfway_leaves_the_current_release(spark: SparkSession, deaths: str) -> None:
    publish(spark, FIRST, deaths, 0)
    with pytest.raises(PySparkException, match="version"):
        publish(spark, SECOND, deaths, 99)
    assert rows(spark, "cdm_of_test.death") == [1]
    assert [row[0] for row in spark.sql("SELECT release_id FROM cdm_of_test.current_release").collect()] == [FIRST]


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
        publish_to(settings, Target("catalog", "cdm"))
