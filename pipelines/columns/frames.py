"""Frames without rows, and frames put together."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest

from pyspark.sql import DataFrame


def empty_rows(like: DataFrame, schema: Mapping[str, str]) -> DataFrame:
    """No rows with the columns of `schema`, in the session of `like`."""
    return like.sparkSession.createDataFrame([], ", ".join(f"{name} {kind}" for name, kind in schema.items()))


def union_all(frames: Iterable[DataFrame]) -> DataFrame:
    """The rows of frames with the same columns, one after the other.

    Put together by twos: Spark looks at the whole of a frame whenever one is added to it, so a hundred one by one take minutes.
    """
    level = list(frames)
    while len(level) > 1:
        pairs = zip_longest(level[::2], level[1::2])
        level = [left if right is None else left.unionByName(right) for left, right in pairs]
    return level[0]
