"""What every part of `measure` gives: rows of a position among the checks, the rows counted for it, and those that break it."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.quality.checks import Check, Zone

TableKey = tuple[Zone, str]

Tables = Mapping[TableKey, DataFrame]
"""The tables under check by zone and name."""

Positions = Mapping[Check, int]
"""The checks, each with its number."""


def table_of(check: Check) -> TableKey:
    """The table that the check is about."""
    return check.zone, check.table


def omop(table: str) -> TableKey:
    """A table of the CDM."""
    return Zone.OMOP, table


def number(value: int, name: str = "position") -> Column:
    """A number of a check, a table or a field, as a column of that name."""
    return F.lit(value).cast("int").alias(name)


def counts(counted: DataFrame) -> DataFrame:
    """Counts for positions from columns `position`, `rows` and `violations`; several of one position are added up."""
    return counted.select(
        F.col("position").cast("int").alias("position"),
        F.col("rows").cast("bigint").alias("rows"),
        F.col("violations").cast("bigint").alias("violations"),
    )


def violations(counted: DataFrame) -> DataFrame:
    """Counts that add the `n` violations found at a `position`, and no rows."""
    return counts(counted.select("position", F.lit(0).alias("rows"), F.col("n").alias("violations")))


def sum_where(condition: Column) -> Column:
    """The sum of `n` over the rows of which the condition holds; 0 where it holds of none."""
    return F.sum(F.when(condition, F.col("n")).otherwise(F.lit(0)))
