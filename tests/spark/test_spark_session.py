from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings


def test_session_is_ansi_and_utc(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


def test_delta_table_is_written_and_read(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).select(F.col("id")).write.format("delta").save(str(tmp_path / "t"))
    assert spark.read.format("delta").load(str(tmp_path / "t")).count() == 3


def test_active_session_is_used_and_left_running_with_its_own_options(spark: SparkSession) -> None:
    spark.conf.set("spark.sql.session.timeZone", "Europe/London")
    try:
        with open_session(EngineSettings(kind="spark")) as given:
            assert given is spark
            assert given.conf.get("spark.sql.session.timeZone") == "UTC"
        assert spark.conf.get("spark.sql.session.timeZone") == "Europe/London"
        assert spark.range(3).count() == 3
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
