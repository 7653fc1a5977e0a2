"""Event tables: the stem, joined to its routes, becomes one row per event and target concept.

Each table reads the stem once and keeps only what its routes send to it. Everything that is joined is either small enough to
broadcast (routes, concept map, providers) or narrow (visits).
"""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import join_small
from pipelines.columns.ids import omop_id, without_collisions
from pipelines.contracts.cdm import CODE_BUCKET, RECORDER, CdmTable
from pipelines.contracts.evidence import (
    FAMILY_HISTORY_CONCEPTS,
    HISTORY_CONCEPTS,
    PRELIMINARY_DIAGNOSIS,
    PROBLEM_LIST_TYPE,
    Evidence,
)
from pipelines.omop.analytes import with_concept_of_unit
from pipelines.omop.codes import FIRST_ORDINAL, with_concepts, with_rule_concepts
from pipelines.omop.conform import conform
from pipelines.omop.drugs import with_course, with_latest_end

EVENT_KEY = ("_row_key", "_rule", "_ordinal")
"""What tells an event row from all others: the silver row, the rule and the place among the target concepts of its code."""

CONDITION_OCCURRENCE = "condition_occurrence"

CONCEPT_FIELDS = {
    CONDITION_OCCURRENCE: ("status",),
    "drug_exposure": ("route",),
    "procedure_occurrence": ("modifier",),
    "measurement": ("operator", "value", "unit"),
    "observation": ("value", "unit", "modifier"),
    "device_exposure": ("unit",),
    "specimen": ("unit",),
}
"""The event tables, and the concept fields that each holds beside its main concept."""


@dataclass(frozen=True)
class EventInputs:
    """What the event tables are made from; every frame is stored, because each table reads it again.

    `visits` are `visit_names`, `visit_details` and `providers` hold `key` and `id`; `collisions` are those of the event ids;
    `coded` are the concept fields that some rule fills from a code. Drug exposures look up `strengths`, which is DRUG_STRENGTH,
    `deaths` (`person_id`, `death_date`, one row a person) and the newest `extracts` (NEWEST_SCHEMA); measurements
    `by_unit`, the concepts that depend on the unit.
    """

    stem: DataFrame
    routes: DataFrame
    concept_map: DataFrame
    visits: DataFrame
    visit_details: DataFrame
    providers: DataFrame
    collisions: DataFrame
    coded: tuple[str, ...]
    strengths: DataFrame | None = None
    deaths: DataFrame | None = None
    extracts: DataFrame | None = None
    by_unit: DataFrame | None = None


def routed(stem: DataFrame, routes: DataFrame) -> DataFrame:
    """The stem with its routes: one row per event and target concept (`_ordinal`, `_target_concept_id`, ...)."""
    names = ("table", "ordinal", "target_concept_id", "source_concept_id", "value_as_concept_id", "map_origin")
    renamed = routes.select("_code_key", *[F.col(name).alias(f"_{name}") for name in names])
    return join_small(stem, renamed, "_code_key")


def event_ids(stem: DataFrame, routes: DataFrame) -> DataFrame:
    """EVENT_KEY and `_id` of every row of all event tables."""
    return routed(stem, routes).select(*EVENT_KEY, _event_id().alias("_id"))


def first_event_id() -> Column:
    """The id that an event has in the table of its first target concept. The stem keeps it."""
    return _id_at(F.lit(FIRST_ORDINAL))


def _event_id() -> Column:
    return F.when(F.col("_ordinal") == FIRST_ORDINAL, F.col("_first_id")).otherwise(_id_at(F.col("_ordinal")))


def _id_at(ordinal: Column) -> Column:
    """The id of an event, by its silver row or, where several rows make one event, by the key they share."""
    return omop_id(F.coalesce(F.col("key"), F.col("_row_key")), F.col("_rule"), ordinal)


def numbered_events(stem: DataFrame, routes: DataFrame, collisions: DataFrame) -> DataFrame:
    """The stem with its routes and the id (`_id`) that each row has in its table (`_table`)."""
    return without_collisions(routed(stem, routes).withColumn("_id", _event_id()), "_id", EVENT_KEY, collisions)


def event_table(table: CdmTable, inputs: EventInputs) -> DataFrame:
    """One event table: the rows that its routes send to it, with every concept, visit and provider they name."""
    numbered = numbered_events(inputs.stem, inputs.routes.where(F.col("table") == table.name), inputs.collisions)
    own = numbered if table.name == CONDITION_OCCURRENCE else without_end_of_problem(numbered)
    fields = CONCEPT_FIELDS[table.name]
    coded = with_concepts(own, [field for field in fields if field in inputs.coded], inputs.concept_map)
    with_all = with_rule_concepts(coded, [field for field in fields if field not in inputs.coded])
    in_units = with_all if inputs.by_unit is None else with_concept_of_unit(with_all, inputs.by_unit)
    linked = with_links(
        in_units,
        visit_occurrence_id=(inputs.visits, "visit_key"),
        visit_detail_id=(inputs.visit_details, "visit_detail_key"),
        provider_id=(inputs.providers, "provider_key"),
    )
    deaths, extracts = inputs.deaths, inputs.extracts
    lasting = linked if deaths is None or extracts is None else with_latest_end(linked, deaths, extracts)
    whole = lasting if inputs.strengths is None else with_course(lasting, inputs.strengths, inputs.stem)
    return conform(whole, _common(table.name) | _SPECIFIC[table.name](), table)


def without_end_of_problem(events: DataFrame) -> DataFrame:
    """`events` without the ends of problems: only a condition lasts as long as its problem."""
    is_other = ~is_known_by(Evidence.PROBLEM_LIST)
    ends = ("end_date", "end_datetime", "end_date_precision")
    return events.withColumns({name: F.when(is_other, F.col(name)) for name in ends})


def with_links(frame: DataFrame, **links: tuple[DataFrame, str]) -> DataFrame:
    """`frame` with an id column per link: that of the row whose `key` is named in a column, null where there is no such row.

    Where the linked rows are of persons (`person_id`), only a row of the same person is linked; where a key means a row on some
    days only (`visit_names`), one that it means on the day on which ours starts.
    """
    for name, (index, column) in links.items():
        key, person = F.col("key").alias(f"_{name}_key"), F.col("person_id").alias(f"_{name}_of")
        is_of_person, is_of_days = "person_id" in index.columns, "named_from" in index.columns
        days = [F.col(day).alias(f"_{day}") for day in ("named_from", "named_until")] if is_of_days else []
        other = index.select(key, *([person] if is_of_person else []), *days, F.col("id").alias(name))
        on = F.col(column) == F.col(f"_{name}_key")
        on = on & (F.col("person_id") == F.col(f"_{name}_of")) if is_of_person else on
        is_meant = (F.col("start_date") >= F.col("_named_from")) & (F.col("start_date") < F.col("_named_until"))
        on = on & is_meant if is_of_days else on
        frame = frame.join(other, on=on, how="left").drop(f"_{name}_key", f"_{name}_of", "_named_from", "_named_until")
    return frame


_PREFIX = {
    "condition_occurrence": "condition",
    "drug_exposure": "drug",
    "procedure_occurrence": "procedure",
    "device_exposure": "device",
}


def _common(table: str) -> dict[str, Column]:
    """The columns that every event table has, under the names that the table gives them.

    Entries of the problem list are of its type, and what a code says to be past, or of a relative, is history, whatever their
    rule says.
    """
    prefix = _PREFIX.get(table, table)
    listed = F.lit(PROBLEM_LIST_TYPE).cast("bigint")
    is_history = F.col("_target_concept_id").isin(*HISTORY_CONCEPTS, *FAMILY_HISTORY_CONCEPTS)
    return {
        f"{table}_id": F.col("_id"),
        "person_id": F.col("person_id"),
        f"{prefix}_concept_id": F.col("_target_concept_id"),
        f"{prefix}_type_concept_id": F.when(is_known_by(Evidence.PROBLEM_LIST), listed).otherwise(F.col("type_concept_id")),
        f"{prefix}_source_value": F.coalesce(F.col("source_value"), F.col("concept_source_value")),
        f"{prefix}_source_concept_id": F.col("_source_concept_id"),
        "provider_id": F.col("provider_id"),
        "visit_occurrence_id": F.col("visit_occurrence_id"),
        "visit_detail_id": F.col("visit_detail_id"),
        "_evidence": F.when(is_history, F.lit(Evidence.HISTORY.value)).otherwise(F.col("evidence")),
        "_date_precision": F.col("date_precision"),
        "_end_date_precision": F.col("end_date_precision"),
        RECORDER: F.coalesce(F.col("recorder"), F.col("_provider")),
    } | {name: F.col(name) for name in ("_source", "_rule", "_row_key", "_map_origin", CODE_BUCKET)}


def is_known_by(grade: Evidence) -> Column:
    """Whether an event of the stem has a grade of evidence."""
    return F.col("evidence") == grade.value


def _condition() -> dict[str, Column]:
    """Conditions. What is suspected is preliminary, whatever its place in a list of diagnoses.

    A status without a concept, as that of an active problem, leaves the field empty, which the CDM allows; its text is kept.
    """
    preliminary = F.lit(PRELIMINARY_DIAGNOSIS).cast("bigint")
    status = F.nullif(F.col("status_target"), F.lit(0).cast("bigint"))
    return _period("condition") | {
        "condition_status_concept_id": F.when(is_known_by(Evidence.SUSPECTED), preliminary).otherwise(status),
        "condition_status_source_value": F.col("status_source_value"),
        "stop_reason": F.col("stop_reason"),
    }


def _drug() -> dict[str, Column]:
    """Drug exposures. The end date is required: see `drug_end_date`. A time of the end before that of the start is none."""
    ends_before = is_true(F.col("end_datetime") < F.col("start_datetime"))
    return {
        "drug_exposure_start_date": F.col("start_date"),
        "drug_exposure_start_datetime": F.col("start_datetime"),
        "drug_exposure_end_date": drug_end_date(),
        "_end_rule": drug_end_rule(),
        "drug_exposure_end_datetime": F.when(_end_is_usable() & ~ends_before, F.col("end_datetime")),
        "verbatim_end_date": F.coalesce(F.col("verbatim_end_date"), F.col("end_date")),
        "stop_reason": F.col("stop_reason"),
        "refills": F.col("refills"),
        "quantity": F.col("_counted"),
        "days_supply": F.col("days_supply"),
        "sig": F.col("sig"),
        "route_concept_id": F.col("route_target"),
        "route_source_value": F.col("route_source_value"),
        "dose_unit_source_value": F.col("dose_unit_source_value"),
    }


def drug_end_date() -> Column:
    """The end of a drug exposure by the first rule of `_drug_ends` that gives one.

    `verbatim_end_date` keeps the delivered end whatever was chosen.
    """
    return F.coalesce(*[end for _, end in _drug_ends()])


def drug_end_rule() -> Column:
    """The name of the rule by which `drug_end_date` chose."""
    return first_true((end.isNotNull(), F.lit(rule)) for rule, end in _drug_ends())


def is_cut_short() -> Column:
    """Whether a computed end of a drug exposure is the last day that it may have (`_ends_by`)."""
    return drug_end_rule().isin(*COMPUTED_ENDS) & (drug_end_date() == F.col("_ends_by"))


def _drug_ends() -> tuple[tuple[str, Column], ...]:
    """The rules for the end of a drug exposure in Themis' order, each with the end it gives or null.

    The delivered end unless it lies before the start; else the last of the days that were supplied, that the directions name,
    until the quantity is used up, or that a written prescription is taken to last, and at most `_ends_by`; else the start.
    Source: https://ohdsi.github.io/Themis/drug_end_date_not_in_data.html
    """
    return (
        ("delivered", F.when(_end_is_usable(), F.col("end_date"))),
        ("days_supplied", _last_of_days("days_supply")),
        ("duration_stated", _last_of_days("_stated_days")),
        ("quantity_by_dose", _last_of_days("_dosed_days", MAX_DAYS_DOSED)),
        ("written_prescription", _last_of_days("prescribed_days")),
        ("same_day", F.col("start_date")),
    )


COMPUTED_ENDS = ("days_supplied", "duration_stated", "quantity_by_dose", "written_prescription")
"""The rules of `_drug_ends` that give an end by days."""

DAYS_FROM = ("days_supply", "sig", "prescribed_days")
"""The fields of an event that the days are taken from: without any of them its end is as delivered, or the start."""

MAX_DAYS_SUPPLY = 3650
"""Days beyond ten years are no length of a course."""

MAX_DAYS_DOSED = 365
"""Nobody is supplied for more than a year at once: such a quantity is mistyped, or is of another unit (DataQualityDashboard:
DRUG_EXPOSURE.days_supply, plausibleValueHigh)."""


def _last_of_days(column: str, most: int = MAX_DAYS_SUPPLY) -> Column:
    """The last day of a course of so many days, at most `_ends_by`; null where they can be no length of one."""
    days = F.when(F.col(column).between(1, most), F.col(column)).cast("int")
    return F.when(days.isNotNull(), F.least(F.date_add(F.col("start_date"), days - 1), F.col("_ends_by")))


def _end_is_usable() -> Column:
    return is_true(F.col("end_date") >= F.col("start_date"))


def _procedure() -> dict[str, Column]:
    return {
        "procedure_date": F.col("start_date"),
        "procedure_datetime": F.col("start_datetime"),
        "procedure_end_date": F.col("end_date"),
        "procedure_end_datetime": F.col("end_datetime"),
        "modifier_concept_id": F.col("modifier_target"),
        "modifier_source_value": F.col("modifier_source_value"),
        "quantity": F.col("quantity"),
    }


def _measurement() -> dict[str, Column]:
    return _valued("measurement") | {
        "operator_concept_id": F.col("operator_target"),
        "range_low": F.col("range_low"),
        "range_high": F.col("range_high"),
        "value_source_value": F.coalesce(F.col("value_source_value"), F.col("value_as_string")),
    }


def _observation() -> dict[str, Column]:
    return _valued("observation") | {
        "value_as_string": F.col("value_as_string"),
        "value_as_date": date_in(F.col("value_as_string")),
        "qualifier_concept_id": F.col("modifier_target"),
        "qualifier_source_value": F.col("modifier_source_value"),
        "value_source_value": F.col("value_source_value"),
    }


def date_in(text: Column) -> Column:
    """The date that a text is, in the form that delivered dates have once they are typed; null for any other text."""
    is_date = is_true(text.rlike("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))
    return F.when(is_date, F.try_to_timestamp(text, F.lit("yyyy-MM-dd")).cast("date"))


def _device() -> dict[str, Column]:
    return _period("device_exposure") | {
        "quantity": F.col("quantity"),
        "unit_concept_id": F.col("unit_target"),
        "unit_source_value": F.col("unit_source_value"),
        "unit_source_concept_id": F.col("unit_source_concept"),
    }


def _specimen() -> dict[str, Column]:
    return {
        "specimen_date": F.col("start_date"),
        "specimen_datetime": F.col("start_datetime"),
        "quantity": F.col("quantity"),
        "unit_concept_id": F.col("unit_target"),
        "unit_source_value": F.col("unit_source_value"),
    }


def _period(prefix: str) -> dict[str, Column]:
    return {f"{prefix}_{name}": F.col(name) for name in ("start_date", "start_datetime", "end_date", "end_datetime")}


def _valued(prefix: str) -> dict[str, Column]:
    """Date, value and unit. What `Maps to value` says about the code comes before a value delivered beside it.

    A number is no category: its value concept is null, not 0. The source concepts of value and unit are what was delivered;
    for observations, and for values, only CDM 5.5 has a field.
    """
    category = F.when(F.col("value_as_number").isNull() | (F.col("value_target") > 0), F.col("value_target"))
    return {
        f"{prefix}_date": F.col("start_date"),
        f"{prefix}_datetime": F.col("start_datetime"),
        "value_as_number": F.col("value_as_number"),
        "value_as_concept_id": F.coalesce(F.col("_value_as_concept_id"), category),
        "value_as_source_concept_id": F.col("value_source_concept"),
        "unit_concept_id": F.col("unit_target"),
        "unit_source_value": F.col("unit_source_value"),
        "unit_source_concept_id": F.col("unit_source_concept"),
    }


_SPECIFIC = {
    "condition_occurrence": _condition,
    "drug_exposure": _drug,
    "procedure_occurrence": _procedure,
    "measurement": _measurement,
    "observation": _observation,
    "device_exposure": _device,
    "specimen": _specimen,
}
