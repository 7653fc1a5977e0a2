"""Spark reads every form of dates, times and numbers as the embedded engine does: their regular expressions differ."""

from datetime import datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.text import trimmed
from tests.embedded.test_columns import numbered
from tests.embedded.test_reading_values import IN_ORDER, READ, places_in_time


def test_spark_reads_the_same_values(spark: SparkSession) -> None:
    cases = [(reader, text, value) for reader, value, texts in READ for text in texts]
    readers = list(dict.fromkeys(reader for reader, _, _ in READ))
    values = [reader(trimmed(F.col("t"))).alias(str(place)) for place, reader in enumerate(readers)]
    rows = numbered(spark, [text for _, text, _ in cases]).select("i", *values).toArrow().to_pylist()
    found = [row[str(readers.index(reader))] for row, (reader, _, _) in zip(sorted(rows, key=_place), cases, strict=True)]
    naive = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in found]
    as_read = [(reader.__name__, text, value) for (reader, text, _), value in zip(cases, naive, strict=True)]
    assert as_read == [(reader.__name__, text, value) for reader, text, value in cases]


def test_spark_puts_moments_in_the_same_order(spark: SparkSession) -> None:
    for texts in IN_ORDER:
        keys = places_in_time(spark, list(texts))
        assert keys == sorted(set(map(str, keys)))


def _place(row: dict[str, object]) -> int:
    place = row["i"]
    assert isinstance(place, int)
    return place
