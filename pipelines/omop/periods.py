"""Observation periods: the spans of time in which what happened to a person would have been recorded.

People with registrations are observed while they are registered. Everybody else is observed by contacts with care, as Themis
asks of records of care (https://ohdsi.github.io/Themis/obs_periods_for_ehr.html): more than GAP_DAYS without a contact end a
period, DAYS_AFTER_LAST after the last one. Nobody is observed before the year of birth, before the sources concerned captured
anything, more than DAYS_AFTER_DEATH after the death, or after the newest extract of the providers concerned.
"""

from collections.abc import Iterable, Mapping
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true
from pipelines.columns.frames import rows_of_group, union_all
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CdmTable
from pipelines.mapping.outcomes import UNOBSERVED_PERSON, left_out_rows
from pipelines.omop.codes import FIRST_ORDINAL
from pipelines.omop.conform import conform

STANDARD_ALGORITHM_FROM_EHR_CONCEPT_ID = 32882
"""Type of a period that is derived from contacts."""

GAP_DAYS = 548
"""The most days from one contact to the next of a period."""

DAYS_AFTER_LAST = 60
"""A person who has a complication after the last contact would come back within these days."""

DAYS_AFTER_DEATH = 60
"""What concerns a death is recorded within these days of it."""

CONTACT_TABLES = ("drug_exposure", "measurement", "procedure_occurrence")
"""The tables of events that are contacts with care on their day. Conditions, observations and history begin when they began,
whoever recorded it and when."""

OUTSIDE = "registration_outside_extract"
"""Reason of registrations of which no day can be observed: they end before they begin, before the year of birth or the first
capture, or begin after the extract or the death."""

CONTACTS_SCHEMA = {
    "person_id": "bigint",
    "start_date": "date",
    "end_date": "date",
    "_source": "string",
    "_provider": "string",
}
"""One row per contact with care."""

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

`name` is the row key of its first registration, or `contacts:` and the day of the first; then it has no source and rule.
"""

PERIOD_KEY = ("person_id", "name")

_CONTACTS = "contacts"


def contacts(stem: DataFrame, routes: DataFrame, visits: DataFrame) -> DataFrame:
    """The contacts with care of all people (CONTACTS_SCHEMA): visits from start to end, events of CONTACT_TABLES on their day.

    The table of an event is that of the domain of its concept, so it is known from its route.
    """
    sent = routes.where(F.col("table").isin(*CONTACT_TABLES)).select("_code_key").distinct()
    events = stem.join(F.broadcast(sent), on="_code_key", how="left_semi").withColumn("end_date", F.col("start_date"))
    return union_all([events.select(*CONTACTS_SCHEMA), visits.select(*CONTACTS_SCHEMA)])


def periods(
    registrations: DataFrame,
    contacts: DataFrame,
    persons: DataFrame,
    deaths: DataFrame,
    newest_extracts: DataFrame,
    captured_from: Mapping[str, date],
) -> DataFrame:
    """The periods of all persons (PERIODS_SCHEMA).

    `registrations` are the rows of Target.OBSERVATION_PERIOD (an open one lasts until the newest extract of its provider),
    `contacts` have CONTACTS_SCHEMA; `persons` holds `person_id` and `year_of_birth`, `deaths` `person_id` and `death_date`, one
    row a person. `newest_extracts` is NEWEST_SCHEMA; `captured_from` is described at `earliest_capture`.
    """
    limits = limits_of(persons, deaths, DAYS_AFTER_DEATH)
    registered = (
        within_limits(registrations, limits, newest_extracts, captured_from)
        .where(_is_inside())
        .withColumn("name", F.col("_row_key"))
    )
    unregistered = contacts.join(registered.select("person_id"), on="person_id", how="left_anti")
    seen = within_limits(unregistered, limits, newest_extracts, captured_from).where(_is_inside())
    by_contact = merged_spans(_named_by_day(seen), GAP_DAYS)
    end = F.least(F.date_add(F.col("end_date"), DAYS_AFTER_LAST), F.col("_until"))
    found = (merged_spans(registered, 1), by_contact.withColumn("end_date", end))
    return union_all([spans.select(*PERIODS_SCHEMA) for spans in found])


def _named_by_day(contacts: DataFrame) -> DataFrame:
    """One span per person and day on which contacts begin, named after it; no two periods begin on one day."""
    days = contacts.groupBy("person_id", "start_date").agg(F.max("end_date").alias("end_date"), F.max("_until").alias("_until"))
    columns = {name: F.lit(None).cast(kind) for name, kind in PERIODS_SCHEMA.items() if name not in days.columns}
    columns |= {"type_concept_id": F.lit(STANDARD_ALGORITHM_FROM_EHR_CONCEPT_ID).cast("bigint")}
    columns |= {"name": F.concat(F.lit(f"{_CONTACTS}:"), F.col("start_date").cast("string"))}
    return days.select(*[columns.get(name, F.col(name)).alias(name) for name in (*PERIODS_SCHEMA, "_until")])


def earliest_capture(captured_from: Mapping[str, date]) -> Column:
    """The first day of which a row's provider, or else its source, has records of care; null where no day is configured.

    `captured_from` has days by source (`acute`) or by source and provider (`acute/RXN`).
    """
    by_provider = [(name.split("/", 1), day) for name, day in sorted(captured_from.items()) if "/" in name]
    chosen = [((F.col("_source") == s) & (F.col("_provider") == p), F.lit(day)) for (s, p), day in by_provider]
    chosen += [(F.col("_source") == s, F.lit(day)) for s, day in sorted(captured_from.items()) if "/" not in s]
    return first_true(chosen, F.lit(None).cast("date"))


def first_capture(captured_from: Mapping[str, date], source: str, provider: str) -> date | None:
    """The day of `earliest_capture` for one provider of a source."""
    return captured_from.get(f"{source}/{provider}", captured_from.get(source))


def unobserved(persons: DataFrame, periods: DataFrame) -> DataFrame:
    """One row per person without a period (`person_id`). The CDM asks for one, so such people are left out of it."""
    return persons.select("person_id").join(periods.select("person_id"), on="person_id", how="left_anti")


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


def registrations_outside(
    registrations: DataFrame,
    persons: DataFrame,
    deaths: DataFrame,
    newest_extracts: DataFrame,
    captured_from: Mapping[str, date],
) -> DataFrame:
    """Registrations that give no period (LEFT_OUT_ROWS_SCHEMA)."""
    limits = limits_of(persons, deaths, DAYS_AFTER_DEATH)
    outside = within_limits(registrations, limits, newest_extracts, captured_from).where(~_is_inside())
    return left_out_rows(outside, F.lit(OUTSIDE))


def rows_of_unobserved(frames: Iterable[DataFrame], left_out: DataFrame) -> DataFrame:
    """Mapped rows of people who are left out of the CDM (`left_out`, from `unobserved`): source, entity, rule, reason, rows."""
    rows = union_all([frame.select("person_id", "_source", "_entity", "_rule") for frame in frames])
    theirs = rows.join(F.broadcast(left_out), on="person_id", how="left_semi")
    return _counted(theirs, UNOBSERVED_PERSON)


def not_fanned_out(stem: DataFrame, routes: DataFrame, left_out: DataFrame) -> DataFrame:
    """The rows, below zero, that routes would have added to events of people who are left out, in the form of the ledger."""
    theirs = stem.join(F.broadcast(left_out), on="person_id", how="left_semi")
    further = routes.where(F.col("ordinal") > FIRST_ORDINAL).select("_code_key")
    added = theirs.join(F.broadcast(further), on="_code_key", how="inner")
    counted = _counted(added, "").withColumn("rows", -F.col("rows"))
    return counted.withColumn("disposition", F.lit("fanned_out"))


def _counted(rows: DataFrame, reason: str) -> DataFrame:
    """How many mapped rows there are: columns source, entity, rule, reason, rows."""
    counted = rows.groupBy("_source", "_entity", "_rule").agg(rows_of_group().alias("rows"))
    return counted.select(
        F.col("_source").alias("source"),
        F.col("_entity").alias("entity"),
        F.col("_rule").alias("rule"),
        F.lit(reason).alias("reason"),
        "rows",
    )


def _is_inside() -> Column:
    return F.col("start_date") <= F.col("end_date")


def limits_of(persons: DataFrame, deaths: DataFrame, days_after_death: int) -> DataFrame:
    """One row per person: the first day that can be observed (`_born`) and, of who has died, the last (`_last`)."""
    first_day = F.concat(F.lpad(F.col("year_of_birth").cast("string"), 4, "0"), F.lit("-01-01"))
    born = persons.select("person_id", first_day.cast("date").alias("_born"))
    last = deaths.select("person_id", F.date_add(F.col("death_date"), days_after_death).alias("_last"))
    return born.join(last, on="person_id", how="left")


def within_limits(
    spans: DataFrame, limits: DataFrame, newest_extracts: DataFrame, captured_from: Mapping[str, date]
) -> DataFrame:
    """Spans of the people in `limits` cut to the days that can be observed; `_until` is the last one, whatever the span.

    `spans` have `_source` and `_provider`, the newest extract of which (`newest_extracts`, NEWEST_SCHEMA) is the end of what is
    known.
    """
    placed = spans.join(F.broadcast(newest_extracts), on=["_source", "_provider"], how="left")
    limited = placed.join(F.broadcast(limits), on="person_id", how="inner")
    until = limited.withColumn("_until", F.least("_known_until", "_last"))
    start = F.greatest(F.col("start_date"), F.col("_born"), earliest_capture(captured_from))
    return until.withColumn("start_date", start).withColumn("end_date", F.least("end_date", "_until"))


def merged_spans(spans: DataFrame, days_apart: int) -> DataFrame:
    """Spans that never overlap: those of a person at most `days_apart` days apart become one, which is named after the first.

    A day and the next are one day apart. `_until` of the result is the latest one.
    """
    start, end = F.unix_date(F.col("start_date")), F.unix_date(F.col("end_date"))
    by_person = Window.partitionBy("person_id").orderBy("start_date", "end_date", "name")
    narrow = spans.select(*PERIODS_SCHEMA, "_until")
    reached = narrow.withColumn("_reached", F.max(end).over(by_person.rowsBetween(Window.unboundedPreceding, -1)))
    is_new = F.col("_reached").isNull() | (start > F.col("_reached") + days_apart)
    opened = reached.withColumn("_new", is_new.cast("int"))
    numbered = opened.withColumn("_island", F.sum("_new").over(by_person.rowsBetween(Window.unboundedPreceding, 0)))
    bounds = {"start_date": F.min("start_date"), "end_date": F.max("end_date"), "_until": F.max("_until")}
    of_first = [name for name in PERIODS_SCHEMA if name not in (*bounds, "person_id")]
    islands = numbered.groupBy("person_id", "_island").agg(
        *[column.alias(name) for name, column in bounds.items()],
        *[F.max(F.when(F.col("_new") == 1, F.col(name))).alias(name) for name in of_first],
    )
    return islands.select(*PERIODS_SCHEMA, "_until")
