"""Continuous inpatient spells: hospital care from admission to discharge, whichever providers gave it.

By NHS Digital's method (HSCIC 2014, "Methodology to create provider and CIP spells from HES APC data") a hospital provider
spell goes on from the one before it when it begins within two days of its end and one of the two tells of a transfer.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import rows_of_group
from pipelines.contracts.cdm import CdmTable
from pipelines.omop.conform import conform
from pipelines.omop.visits import BY_TRANSFER, order_of_start, trust_of

DAYS_APART = 2

SENT_TO_HOSPITAL = ("49", "50", "51", "52", "53", "84")
"""Discharge destinations that are a ward of another hospital."""

FROM_HOSPITAL = ("49", "50", "51", "52", "53", "87")
"""Admission sources that are a ward of another hospital."""

WITHOUT_A_NIGHT = ("2", "3")
"""Patient classifications of day cases and regular day attenders, who go home on the day they come."""

REGULAR_ATTENDERS = ("3", "4")
"""Patient classifications of which every spell stands alone: regular day and night attenders."""

HOME, GENERAL_WARD, OWN_DEPARTMENT = "19", "51", "21"
"""A discharge home, then an admission from a ward or an emergency department (51) by the provider's own department (21): no
transfer, because code 51 means the department here."""


def continuous_spell_visits(visits: DataFrame, table: CdmTable) -> DataFrame:
    """One row per hospital provider spell: the continuous inpatient spell that it is part of, its place there and why.

    `visits` are the stored visits. The id of a continuous spell is that of its first visit. A spell that begins while an
    earlier one lasts has a negative number of days apart.
    """
    alone = F.when(F.col("patient_classification").isin(*REGULAR_ATTENDERS), F.col("key")).otherwise(F.lit(""))
    stays = visits.where(F.col("patient_classification").isNotNull()).select(
        "id",
        "key",
        "person_id",
        "start_date",
        "end_date",
        order_of_start().alias("_start"),
        alone.alias("_alone"),
        _code("came_by").alias("_method"),
        _code("admitted_from_source_value").alias("_from"),
        _code("discharged_to_source_value").alias("_to"),
    )
    by = Window.partitionBy("person_id", "_alone").orderBy("_start", "end_date", "key")
    so_far = by.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    earlier = by.rowsBetween(Window.unboundedPreceding, -1)
    placed = stays.withColumns(
        {
            "_number": F.row_number().over(by),
            "_ended": F.max("end_date").over(earlier),
            "_sent_to": F.lag("_to").over(by),
        }
    )
    joined = placed.withColumn("_days", F.datediff("start_date", "_ended")).withColumn("_joined_by", _evidence())
    first = F.col("_joined_by").isNull()
    found = joined.withColumns(
        {
            "_spell": F.last(F.when(first, F.col("id")), ignorenulls=True).over(so_far),
            "_first_number": F.last(F.when(first, F.col("_number")), ignorenulls=True).over(so_far),
        }
    )
    values = {
        "continuous_inpatient_spell_id": F.col("_spell"),
        "visit_occurrence_id": F.col("id"),
        "person_id": F.col("person_id"),
        "visit_number": F.col("_number") - F.col("_first_number") + 1,
        "joined_by": F.col("_joined_by"),
        "days_apart": F.when(~first, F.col("_days")),
    }
    return conform(found, values, table)


def _code(column: str) -> Column:
    return F.upper(F.trim(F.col(column)))


def _evidence() -> Column:
    """What says that a stay goes on from the one before it; null where it does not."""
    evidence = (
        F.when(F.col("_method").isin(*BY_TRANSFER), F.lit("admission_method"))
        .when(F.col("_from").isin(*FROM_HOSPITAL), F.lit("admission_source"))
        .when(F.col("_sent_to").isin(*SENT_TO_HOSPITAL), F.lit("discharge_destination"))
    )
    is_department = (F.col("_sent_to") == HOME) & (F.col("_from") == GENERAL_WARD) & (F.col("_method") == OWN_DEPARTMENT)
    return F.when((F.col("_days") <= DAYS_APART) & ~is_true(is_department), evidence)


def continuous_spells(links: DataFrame, visits: DataFrame, table: CdmTable) -> DataFrame:
    """One row per continuous inpatient spell from its visits (`continuous_spell_visits`).

    It is open while its last visit is. A visit without an end before the last one has ended, unless the last one was discharged
    to a hospital: the patient is back there. It is of a day only if all its visits are WITHOUT_A_NIGHT and end as they begin.
    """
    without_a_night = F.col("patient_classification").isin(*WITHOUT_A_NIGHT) & (F.col("end_date") <= F.col("start_date"))
    stays = visits.select(
        F.col("id").alias("visit_occurrence_id"),
        "start_date",
        "start_datetime",
        "end_date",
        "end_datetime",
        (F.col("end_rule") == "open").alias("_open"),
        is_true(without_a_night).alias("_day_only"),
        F.col("came_by"),
        trust_of(F.col("care_site_code")).alias("_trust"),
        _code("discharged_to_source_value").isin(*SENT_TO_HOSPITAL).alias("_sent_on"),
    )
    parts = links.join(stays, on="visit_occurrence_id", how="inner")
    closed = ~F.col("_open")
    bounds = parts.groupBy("continuous_inpatient_spell_id").agg(
        rows_of_group().alias("_visits"),
        F.count_distinct("_trust").alias("_trusts"),
        F.min("start_date").alias("_start_date"),
        F.min("start_datetime").alias("_start_datetime"),
        F.max("end_date").alias("_latest"),
        F.max(F.when(closed, F.col("end_date"))).alias("_closed_date"),
        F.max(F.when(closed, F.col("end_datetime"))).alias("_closed_datetime"),
        F.max("_open").alias("_any_open"),
        F.min("_day_only").alias("_all_day_only"),
        F.min(F.when(F.col("visit_number") == 1, F.col("came_by"))).alias("_came_by"),
    )
    is_last = F.col("visit_number") == F.col("_visits")
    last = parts.join(bounds, on="continuous_inpatient_spell_id", how="inner").where(is_last)
    is_open = F.col("_open") | (F.col("_any_open") & is_true(F.col("_sent_on")))
    ended = last.withColumn("_is_open", is_open)
    end_date = F.when(F.col("_is_open"), F.col("_latest")).otherwise(F.col("_closed_date"))
    has_start_time = F.col("_start_datetime") < F.date_add("_start_date", 1).cast("timestamp")
    has_end_time = ~F.col("_is_open") & (F.col("_closed_datetime") >= F.col("_closed_date").cast("timestamp"))
    values = {
        "continuous_inpatient_spell_id": F.col("continuous_inpatient_spell_id"),
        "person_id": F.col("person_id"),
        "spell_start_date": F.col("_start_date"),
        "spell_start_datetime": F.when(has_start_time, F.col("_start_datetime")),
        "spell_end_date": end_date,
        "spell_end_datetime": F.when(has_end_time, F.col("_closed_datetime")),
        "first_visit_occurrence_id": F.col("continuous_inpatient_spell_id"),
        "last_visit_occurrence_id": F.col("visit_occurrence_id"),
        "number_of_visits": F.col("_visits"),
        "number_of_trusts": F.col("_trusts"),
        "is_open": _yes_no(F.col("_is_open")),
        "is_day_only": _yes_no(F.col("_all_day_only")),
        "admission_method_source_value": F.col("_came_by"),
    }
    return conform(ended, values, table)


def _yes_no(flag: Column) -> Column:
    return F.when(flag, F.lit("Y")).otherwise(F.lit("N"))
