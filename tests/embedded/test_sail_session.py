import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings
from pipelines.errors import EngineError


def test_session_is_ansi_and_utc(sail: SparkSession) -> None:
    assert sail.conf.get("spark.sql.ansi.enabled") == "true"
    assert sail.conf.get("spark.sql.session.timeZone") == "UTC"
    assert os.environ["TZ"] == "UTC"
    with pytest.raises(PySparkException):
        sail.sql("select cast('x' as int) as n").collect()


def test_delta_table_is_written_and_read(sail: SparkSession, tmp_path: Path) -> None:
    sail.range(3).select(F.col("id")).write.format("delta").save(str(tmp_path / "t"))
    assert sail.read.format("delta").load(str(tmp_path / "t")).count() == 3


def test_process_ends_soon_after_its_session(tmp_path: Path) -> None:
    script = tmp_path / "once.py"
    script.write_text(
        "import os\n"
        "from pipelines.engine import EngineSettings, open_session\n"
        "with open_session(EngineSettings(memory_gib=0.5)) as session:\n"
        "    assert session.range(3).count() == 3\n"
        "assert 'SPARK_CONNECT_MODE_ENABLED' not in os.environ\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "SPARK_CONNECT_MODE_ENABLED"}
    process = [sys.executable, str(script)]
    done = subprocess.run(process, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_running_out_of_memory_says_what_to_raise(sail: SparkSession) -> None:
    """Half a GiB, and a hash join, which cannot spill, of more than that."""
    settings = EngineSettings(memory_gib=0.5, prefer_hash_join=True)
    with pytest.raises(EngineError, match=r"raise engine\.memory_gib"), open_session(settings) as session:
        rows = session.range(8_000_000).select(F.sha2(F.col("id").cast("string"), 256).alias("key"), F.col("id"))
        others = rows.select("key", (F.col("id") + 1).alias("other"))
        rows.join(others, on="key", how="inner").agg(F.sum("other"), F.max("id")).collect()
