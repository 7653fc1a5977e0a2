"""What happened when within a visit: response times of ambulances, waits in emergency departments, expected discharges."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.cdm import CdmTable
from pipelines.mapping.spec import EXPECTED_DAYS, MOMENTS
from pipelines.omop.conform import conform

SECONDS_PER_MINUTE = 60

DAYS_BEFORE, DAYS_AFTER = 1, 7
"""How far from the day that a visit starts a moment of it may be: a call before midnight, the longest waits in a department.
What is further away has the year, or the date, of something else."""


def visit_timing(rows: DataFrame, visits: DataFrame, table: CdmTable) -> DataFrame:
    """One row per visit and milestone that is known.

    `rows` are the mapped rows of Target.VISIT_TIMING, `visits` the stored visits. Of several records of one visit the
    earliest moment counts. What is after the day of its extract has not happened, and what is further than DAYS_BEFORE and
    DAYS_AFTER from the start is none of it: both are left out, but for what is expected.
    """
    happened = [
        F.struct(
            F.lit(name).alias("milestone"),
            F.col(name).cast("date").alias("day"),
            F.col(name).alias("moment"),
            F.lit("N").alias("is_expected"),
        )
        for name in MOMENTS
    ]
    expected = [
        F.struct(
            F.lit(name).alias("milestone"),
            F.col(name).alias("day"),
            F.lit(None).cast("timestamp").alias("moment"),
            F.lit("Y").alias("is_expected"),
        )
        for name in EXPECTED_DAYS
    ]
    starts = visits.select(F.col("key").alias("visit_key"), "id", "person_id", "start_date", "start_datetime")
    placed = rows.join(starts, on=["visit_key", "person_id"], how="inner")
    visit = ("id", "person_id", "start_date", "start_datetime")
    kept = (*visit, "priority", "_extracted_on")
    milestones = placed.select(*kept, F.explode(F.array(*happened, *expected)).alias("_of"))
    named = milestones.select(*kept, "_of.milestone", "_of.day", "_of.moment", "_of.is_expected")
    is_near = F.col("day").between(F.date_sub("start_date", DAYS_BEFORE), F.date_add("start_date", DAYS_AFTER))
    is_known = (F.col("is_expected") == "Y") | (is_near & (F.col("day") <= F.col("_extracted_on")))
    least = [F.min(name).alias(name) for name in ("day", "moment", "priority")]
    known = named.where(F.col("day").isNotNull() & is_known)
    once = known.groupBy(*visit, "milestone", "is_expected").agg(*least)
    seconds = F.unix_timestamp("moment") - F.unix_timestamp("start_datetime")
    values = {
        "visit_occurrence_id": F.col("id"),
        "person_id": F.col("person_id"),
        "milestone": F.col("milestone"),
        "milestone_date": F.col("day"),
        "milestone_datetime": F.col("moment"),
        "minutes_since_start": seconds.cast("double") / SECONDS_PER_MINUTE,
        "is_expected": F.col("is_expected"),
        "priority_source_value": F.col("priority"),
    }
    return conform(once, values, table)
