"""The comparison of two frames, row for row: the one place that says when they are equal."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

BEFORE, NOW = "_before", "_now"


def counted_in_both(before: DataFrame, now: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Every distinct row of two frames in some columns, with how often the first (`_before`) and the second (`_now`) has it."""
    both = before.select(*columns, F.lit(0).alias("_is_now")).unionByName(now.select(*columns, F.lit(1).alias("_is_now")))
    times = F.sum(F.lit(1) - F.col("_is_now")).alias(BEFORE), F.sum("_is_now").alias(NOW)
    return both.groupBy(*columns).agg(*times)


def differences(before: DataFrame, now: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The rows, in these columns, that only one of two frames has, or has more often."""
    return counted_in_both(before, now, columns).where(F.col(BEFORE) != F.col(NOW)).select(*columns)
