"""What has changed in silver, and so whose mapped rows have to be made again.

A person is touched by a row that came, went or was another person's, by a changed row of a code table, a member of staff or
another shared row that one of the person's rows refers to, and by a file that was delivered again.
"""

from collections.abc import Iterable, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import differences, union_all
from pipelines.contracts.source import LINE, LOAD
from pipelines.contracts.tables import CHANGE
from vocab.schemas import ddl_of

CHANGED_SCHEMA = {"_file": "string", "_line": "bigint", "row_key": "string", "person_id": "bigint", CHANGE: "bigint"}
"""One row per change, delivered row that silver has or had, its record, and person it is or was of (null: nobody)."""

_DECIDED = (*LINE, "row_key", "person_id")
"""What silver takes from the dispositions of current rows."""

_WHERE_FROM = (LOAD, "_file")


def changed_rows(before: Sequence[DataFrame], now: Sequence[DataFrame], session: SparkSession) -> DataFrame:
    """The delivered rows that are current in only one of two states of the dispositions, or of another record or person."""
    if not before:
        return session.createDataFrame([], ddl_of(CHANGED_SCHEMA)).drop(CHANGE)
    old, new = (
        union_all([frame.where(F.col("disposition") == "current").select(*_DECIDED) for frame in s]) for s in (before, now)
    )
    return differences(old, new, _DECIDED).select(*_DECIDED).distinct()


def of_changed_rows(changed: DataFrame) -> DataFrame:
    """The people that changed rows (CHANGED_SCHEMA) are or were of."""
    return changed.where(F.col("person_id").isNotNull()).select("person_id", F.lit("row").alias("reason"))


def of_changed_references(
    before: DataFrame, now: DataFrame, referring: Iterable[tuple[DataFrame, str]], name: str
) -> list[DataFrame]:
    """The people with rows that refer to a shared row which has changed in anything but where it was delivered.

    `referring` are silver tables, each with the column that has the key of the shared row.
    """
    compared = [column for column in now.columns if column not in _WHERE_FROM]
    keys = differences(before, now, compared).select(F.col("row_key").alias("_changed_key")).distinct()
    return [
        frame.join(F.broadcast(keys), on=F.col(column) == F.col("_changed_key"), how="left_semi").select(
            "person_id", F.lit(name).alias("reason")
        )
        for frame, column in referring
    ]


def of_changed_files(before: DataFrame, now: DataFrame, dispositions: Iterable[DataFrame]) -> DataFrame:
    """The people with current rows of files that were delivered again. New files have none but changed rows."""
    again = now.join(before.withColumnRenamed("_extracted_on", "_before"), on="_file", how="inner")
    files = again.where(F.col("_extracted_on") != F.col("_before")).select("_file")
    rows = union_all([frame.where(F.col("disposition") == "current").select("_file", "person_id") for frame in dispositions])
    found = rows.where(F.col("person_id").isNotNull()).join(F.broadcast(files), on="_file", how="left_semi")
    return found.select("person_id", F.lit("file").alias("reason"))
