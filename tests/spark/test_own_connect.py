"""A local Spark is spoken to over Spark Connect, by this process alone."""

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client import ChannelBuilder, DefaultChannelBuilder

from pipelines.spark_options import FILES_ARE_LISTED

pytestmark = pytest.mark.spark


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
    assert spark.conf.get(FILES_ARE_LISTED, None) in (None, "true")


@pytest.mark.parametrize("token", ["", ";token=guessed"])
def test_nobody_is_served_without_the_token(spark: SparkSession, token: str) -> None:
    own = channel_of(spark)
    assert len(own.getDefault(ChannelBuilder.PARAM_TOKEN, "")) >= 40
    with pytest.raises(PySparkException, match="oken"):
        SparkSession.builder.remote(f"sc://{own.endpoint}/{token}").create().range(1).count()
    assert spark.range(3).count() == 3
