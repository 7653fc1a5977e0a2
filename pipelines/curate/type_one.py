"""Type 1 opt-outs, read from the GP record itself.

A dissent code stands until a later withdrawal. It counts at every practice the person was ever with, ties count as dissent,
a dissent without any date stands, a withdrawal dated after the run does not count yet, deleted entries count for nothing. A
date that cannot be read is none, whatever date of entry stands beside it.
"""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.text import trimmed
from pipelines.columns.values import date_in, known
from pipelines.contracts.source import ColumnType
from pipelines.contracts.type_one import TypeOneCodes
from pipelines.curate.versions import valid_rows

_ON_RECORD = ("_provider", "_code_id")

LINE = ("_file", "_line")
"""What finds a delivered row again: the file and the physical line."""


def _as_compared(value: Column, vocabulary: str) -> Column:
    """Read codes are compared with their padding dots and without the term code, in their own case."""
    text = trimmed(value)
    return F.rpad(F.substring(text, 1, 5), 5, ".") if vocabulary in ("Read", "CTV3") else text


def type_one_codes(dictionary: DataFrame, codes: TypeOneCodes) -> DataFrame:
    """Which entries of the practices' code tables say dissent or withdrawal. Columns: `_provider`, `_code_id`, `_meaning`."""
    meaning: Column = F.lit(None).cast("string")
    for vocabulary, column in codes.dictionary.columns.items():
        value = _as_compared(F.col(column), vocabulary)
        for kind in ("withdrawn", "dissent"):
            listed = [code.code for code in codes.codes if code.vocabulary == vocabulary and code.meaning == kind]
            if listed:
                meaning = F.when(value.isin(*listed), F.lit(kind)).otherwise(meaning)
    named = dictionary.select("_provider", trimmed(F.col(codes.dictionary.code)).alias("_code_id"), meaning.alias("_meaning"))
    return named.where(F.col("_meaning").isNotNull()).distinct()


def people_with_type_one(
    observations: DataFrame,
    coded: DataFrame,
    versions: DataFrame,
    patients: DataFrame,
    codes: TypeOneCodes,
    run_date: date,
) -> DataFrame:
    """One row (`person_id`) per person whose GP-held data may not be used.

    `observations` are the bronze rows of the record, `coded` see type_one_codes, `versions` the versions of the source.
    `patients` have `row_key` and `person_id` of patients.
    """
    record = codes.observation
    with_code = observations.withColumn("_code_id", trimmed(F.col(record.code)))
    hits = with_code.join(F.broadcast(coded), on=list(_ON_RECORD), how="inner")
    said = hits.select(*LINE, "_meaning", _moment(record.dates).alias("_moment"))
    valid = valid_rows(versions, record.entity).select(*LINE, "parent_key")
    stated = valid.join(F.broadcast(said), on=list(LINE), how="inner").join(
        patients.withColumnRenamed("row_key", "parent_key"), on="parent_key", how="inner"
    )
    is_dissent = F.col("_meaning") == "dissent"
    counts = ~is_dissent & (F.col("_moment") <= F.lit(run_date))
    by_person = stated.groupBy("person_id").agg(
        F.max(F.when(is_dissent, F.col("_moment"))).alias("_dissent"),
        F.max(F.when(counts, F.col("_moment"))).alias("_withdrawal"),
        F.max((is_dissent & F.col("_moment").isNull()).cast("int")).alias("_undated"),
    )
    withdrawn_later = F.coalesce(F.col("_withdrawal") > F.col("_dissent"), F.lit(False))
    stands = (F.col("_undated") == 1) | (F.col("_dissent").isNotNull() & ~withdrawn_later)
    return by_person.where(stands).select("person_id")


def _moment(columns: tuple[str, ...]) -> Column:
    """The first date that is given; null where one before it, or it, is unreadable."""
    moment: Column = F.lit(None).cast("date")
    for column in reversed(columns):
        text = trimmed(F.col(column))
        found = date_in(text)
        moment = F.when(text.isNotNull() & found.isNull(), F.lit(None).cast("date")).otherwise(
            F.coalesce(known(ColumnType.DATE, found), moment)
        )
    return moment
