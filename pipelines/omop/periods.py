"""Observation periods: the spans of time in which what happened to a person would have been recorded.

One rule: people with registrations are observed while they are registered; everybody else from the first to the last day on
which something happened. Spans of one person that overlap or lie at most `gap_days` apart are one. Nothing is observed before
the year of birth or after the extract.
"""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform

STANDARD_ALGORITHM_FROM_EHR_CONCEPT_ID = 32882
"""Type of a period that is derived from events."""

OUTSIDE = "registration_outside_extract"
"""Reason of registrations that end before the year of birth or begin after their own end."""

PERIODS_SCHEMA = {
    "person_id": "bigint",
    "start_date": "date",
    "end_date": "date",
    "type_concept_id": "bigint",
    "name": "string",
    "_source": "string",
    "_entity": "string",
    "_rule": "string",
}
"""One row per period, named by (person_id, name).

`name` is the row key of its first registration, or `events`; then it has no source and rule.
"""

PERIOD_KEY = ("person_id", "name")


def periods(
    registrations: DataFrame,
    dated: Iterable[tuple[DataFrame, str]],
    persons: DataFrame,
    gap_days: int,
) -> DataFrame:
    """The periods of all persons (PERIODS_SCHEMA).

    `registrations` are the rows of Target.OBSERVATION_PERIOD (an open one lasts until the newest extract of its provider);
    `dated` are frames with `person_id` and the name of their date column; `persons` holds `person_id` and `year_of_birth`.
    """
    spans = _registered(registrations, persons)
    registered = spans.where(_is_inside()).select(*PERIODS_SCHEMA)
    active = _active(dated, persons)
    others = active.join(registered.select("person_id"), on="person_id", how="left_anti")
    return merged_spans(registered.unionByName(others), gap_days)


def period_ids(periods: DataFrame) -> DataFrame:
    """The stored periods with their `id`."""
    return periods.withColumn("id", omop_id(F.lit("observation_period"), F.col("person_id"), F.col("name")))


def observation_period(periods: DataFrame, collisions: DataFrame, table: CdmTable) -> DataFrame:
    """The observation_period table from the stored periods."""
    values = {
        "observation_period_id": F.col("id"),
        "person_id": F.col("person_id"),
        "observation_period_start_date": F.col("start_date"),
        "observation_period_end_date": F.col("end_date"),
        "period_type_concept_id": F.col("type_concept_id"),
    }
    return conform(without_collisions(period_ids(periods), "id", PERIOD_KEY, collisions), values, table)


def registrations_outside(registrations: DataFrame, persons: DataFrame) -> DataFrame:
    """Registrations that give no period: columns source, entity, rule, reason, rows."""
    outside = _registered(registrations, persons).where(~_is_inside())
    counted = outside.groupBy("_source", "_entity", "_rule").agg(rows_of_group().alias("rows"))
    return counted.select(
        F.col("_source").alias("source"),
        F.col("_entity").alias("entity"),
        F.col("_rule").alias("rule"),
        F.lit(OUTSIDE).alias("reason"),
        "rows",
    )


def _is_inside() -> Column:
    return F.col("start_date") <= F.col("end_date")


def _registered(registrations: DataFrame, persons: DataFrame) -> DataFrame:
    """Registrations cut to the time from the year of birth to the newest extract of the provider."""
    born = registrations.join(F.broadcast(_births(persons)), on="person_id", how="inner")
    columns = {
        "start_date": F.greatest(F.col("start_date"), F.col("_born")),
        "end_date": F.least(F.col("end_date"), F.col("_known_until")),
        "name": F.col("_row_key"),
    }
    return born.select(*[columns.get(name, F.col(name)).alias(name) for name in PERIODS_SCHEMA])


def _active(dated: Iterable[tuple[DataFrame, str]], persons: DataFrame) -> DataFrame:
    """The first and last day of each person, of the days from the year of birth on; days after an extract were set aside."""
    births = F.broadcast(_births(persons))
    ranges = []
    for frame, day in dated:
        days = frame.select("person_id", F.col(day).alias("_day")).join(births, on="person_id", how="inner")
        known = days.where(F.col("_day") >= F.col("_born"))
        ranges.append(known.groupBy("person_id").agg(F.min("_day").alias("start_date"), F.max("_day").alias("end_date")))
    spans = (
        union_all(ranges).groupBy("person_id").agg(F.min("start_date").alias("start_date"), F.max("end_date").alias("end_date"))
    )
    columns = {"type_concept_id": F.lit(STANDARD_ALGORITHM_FROM_EHR_CONCEPT_ID).cast("bigint"), "name": F.lit("events")}
    columns |= {name: F.lit(None).cast("string") for name in ("_source", "_entity", "_rule")}
    return spans.select(*[columns.get(name, F.col(name)).alias(name) for name in PERIODS_SCHEMA])


def _births(persons: DataFrame) -> DataFrame:
    first_day = F.concat(F.lpad(F.col("year_of_birth").cast("string"), 4, "0"), F.lit("-01-01"))
    return persons.select("person_id", first_day.cast("date").alias("_born"))


def merged_spans(spans: DataFrame, gap_days: int) -> DataFrame:
    """Spans that never overlap: those of a person at most `gap_days` apart become one, which is named after the first."""
    start, end = F.unix_date(F.col("start_date")), F.unix_date(F.col("end_date"))
    by_person = Window.partitionBy("person_id").orderBy("start_date", "end_date", "name")
    reached = spans.withColumn("_reached", F.max(end).over(by_person.rowsBetween(Window.unboundedPreceding, -1)))
    is_new = F.col("_reached").isNull() | (start > F.col("_reached") + 1 + gap_days)
    opened = reached.withColumn("_new", is_new.cast("int"))
    numbered = opened.withColumn("_island", F.sum("_new").over(by_person.rowsBetween(Window.unboundedPreceding, 0)))
    bounds = {"start_date": F.min("start_date"), "end_date": F.max("end_date")}
    of_first = [name for name in PERIODS_SCHEMA if name not in (*bounds, "person_id")]
    islands = numbered.groupBy("person_id", "_island").agg(
        *[column.alias(name) for name, column in bounds.items()],
        *[F.max(F.when(F.col("_new") == 1, F.col(name))).alias(name) for name in of_first],
    )
    return islands.select(*PERIODS_SCHEMA)
