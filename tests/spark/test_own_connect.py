"""A local Spark is spoken to over Spark Connect, by this process alone."""

import os
import subprocess
import sys

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client import ChannelBuilder, DefaultChannelBuilder

from pipelines.own_connect import own_server
from tests.conftest import PROJECT
from tests.spark.conftest import environment

pytestmark = pytest.mark.spark

WITH_A_JVM_OF_OTHERS = """
from pyspark.sql import SparkSession
SparkSession.builder.master("local[1]").getOrCreate().stop()
from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings
with open_session(EngineSettings(kind="spark", memory_gib=1)) as session:
    print("served", session.range(3).count())
"""


def channel_of(session: SparkSession) -> DefaultChannelBuilder:
    """How a session reaches its server."""
    builder = getattr(session.client, "_builder", None)
    assert isinstance(builder, DefaultChannelBuilder)
    return builder


def test_a_plan_is_sent_whole_and_options_hold(spark: SparkSession) -> None:
    assert channel_of(spark).host == "localhost"
    assert spark.range(3).count() == 3
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


@pytest.mark.parametrize("token", ["", ";token=guessed"])
def test_nobody_is_served_without_the_token(spark: SparkSession, token: str) -> None:
    own = channel_of(spark)
    assert len(own.getDefault(ChannelBuilder.PARAM_TOKEN, "")) >= 40
    with pytest.raises(PySparkException, match="oken"):
        SparkSession.builder.remote(f"sc://{own.endpoint}/{token}").create().range(1).count()
    assert spark.range(3).count() == 3


@pytest.mark.parametrize("before", [None, "of a server elsewhere"])
def test_the_environment_has_the_token_only_while_spark_starts(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    name = "SPARK_CONNECT_AUTHENTICATE_TOKEN"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with own_server({}, idle_seconds=60, has_jvm=False) as server:
        assert os.environ[name] == server.token != before
    assert os.environ.get(name) == before


def test_a_jvm_that_others_have_left_is_not_used(java: None) -> None:
    """It does not know the token, so its server would be open to every user of the machine."""
    command = [sys.executable, "-c", WITH_A_JVM_OF_OTHERS]
    done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "served" not in done.stdout
    assert "EngineError: this process has a JVM" in done.stderr
