"""Frames without rows, the union and the differences of frames, and the size of groups."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from vocab.schemas import ddl_of


def empty_rows(like: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """No rows with the columns of `schema`, in the session of `like`."""
    return like.sparkSession.createDataFrame([], ddl_of(schema))


def join_small(frame: DataFrame, small: DataFrame, on: str) -> DataFrame:
    """The rows of `frame` that a small table has in the column `on`, with its columns: as an inner join gives them.

    Sail takes an inner join to leave one row per row of `small`, and whatever is joined next keeps `frame` in memory. A join
    that only leaves out rows, and one that only adds columns, are taken to leave as many rows as there were.
    """
    there = frame.join(F.broadcast(small.select(on)), on=on, how="left_semi")
    return there.join(F.broadcast(small), on=on, how="left")


def rows_of_group() -> Column:
    """The number of rows of a group of `groupBy`, as a value that can be aggregated again.

    Sail 0.7.2 cannot plan an aggregate over the result of `count` where the statistics of a stored table show that there is one
    group only, as in every small lakehouse. A sum counts the same and is planned.
    """
    return F.sum(F.lit(1)).cast("bigint")


def union_all(frames: Iterable[DataFrame]) -> DataFrame:
    """The rows of frames with the same columns, one after the other.

    United in pairs: Spark analyses the whole of a frame whenever another is added to it, so a hundred in a row take minutes.
    Each frame is selected from first: Sail 0.7.2 otherwise cannot filter a union of unions of stored tables.
    """
    level = [frame.select("*") for frame in frames]
    while len(level) > 1:
        pairs = zip_longest(level[::2], level[1::2])
        level = [left if right is None else left.unionByName(right) for left, right in pairs]
    return level[0]


BEFORE, NOW = "_before", "_now"


def counted_in_both(before: DataFrame, now: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Every distinct row of two frames in some columns, with how often the first (`_before`) and the second (`_now`) has it."""
    both = before.select(*columns, F.lit(0).alias("_is_now")).unionByName(now.select(*columns, F.lit(1).alias("_is_now")))
    times = F.sum(F.lit(1) - F.col("_is_now")).alias(BEFORE), F.sum("_is_now").alias(NOW)
    return both.groupBy(*columns).agg(*times)


def differences(before: DataFrame, now: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The rows, in these columns, that only one of two frames has, or has more often."""
    return counted_in_both(before, now, columns).where(F.col(BEFORE) != F.col(NOW)).select(*columns)
