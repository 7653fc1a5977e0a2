"""Expectations are counted on Spark as on Sail, and Great Expectations says the same there."""

import pytest
from pyspark.sql import SparkSession

from pipelines.quality.expectations.by_library import counts_by_library
from tests.embedded.test_expectations import CASES, ROWS, SCHEMA, Library, expectation, found


def test_rows_and_violations_of_every_expectation(spark: SparkSession) -> None:
    table = spark.createDataFrame(ROWS, SCHEMA)
    asked = [case for case, _, _ in CASES]
    assert found(table, *asked) == {case.text: (rows, violations) for case, rows, violations in CASES}


@pytest.mark.deep
def test_the_library_runs_on_the_frames_of_spark(spark: SparkSession) -> None:
    table = spark.createDataFrame(ROWS, SCHEMA)
    quantiles = {"quantiles": [0.5], "value_ranges": [[2, 3]]}
    asked = expectation("column_quantile_values_to_be_between", column="a", quantile_ranges=quantiles)
    assert list(counts_by_library(table, [asked])) == [(asked.text, 1, 0)]
    median = next(case for case, _, _ in CASES if "median" in case.type)
    assert Library(table).says(median) == (True, None)
