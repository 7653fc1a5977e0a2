"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from collections.abc import Collection
from functools import cache
from typing import Final

from pipelines.contracts.cdm import CDM_VERSIONS, CdmColumn, CdmTable, cdm_tables

_PERSON: Final = CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id"))
_EVENT: Final = (
    CdmColumn("event_table", "string", nullable=False, length=20),
    CdmColumn("event_id", "bigint", nullable=False, indexed=True),
)
"""The row of an event or visit table that a row is about."""

EVENT_EVIDENCE: Final = CdmTable(
    name="event_evidence",
    is_vocabulary=False,
    columns=(
        _PERSON,
        *_EVENT,
        CdmColumn("evidence", "string", nullable=False, length=12),
        CdmColumn("date_precision", "string", nullable=False, length=5),
        CdmColumn("end_date_precision", "string", nullable=True, length=5),
    ),
    primary_key=None,
)
"""How each event is known (`Evidence`) and how exactly its dates are (`DatePrecision`); `event_id` is of `event_table`."""

DRUG_ORDER_ADMINISTRATION: Final = CdmTable(
    name="drug_order_administration",
    is_vocabulary=False,
    columns=(
        _PERSON,
        CdmColumn(
            "order_drug_exposure_id", "bigint", nullable=False, references=("drug_exposure", "drug_exposure_id"), indexed=True
        ),
        CdmColumn(
            "administration_drug_exposure_id",
            "bigint",
            nullable=False,
            references=("drug_exposure", "drug_exposure_id"),
            indexed=True,
        ),
        CdmColumn("link_rule", "string", nullable=False, length=50),
    ),
    primary_key=None,
)
"""Which doses were given for which order, so that what was ordered and what was given is not counted twice."""

DRUG_DOSING: Final = CdmTable(
    name="drug_dosing",
    is_vocabulary=False,
    columns=(
        CdmColumn("drug_exposure_id", "bigint", nullable=False, references=("drug_exposure", "drug_exposure_id")),
        _PERSON,
        CdmColumn("dose_value", "double", nullable=True),
        CdmColumn("dose_unit", "string", nullable=True, length=50),
        CdmColumn("doses_per_day", "double", nullable=True),
        CdmColumn("is_as_needed", "bigint", nullable=True),
        CdmColumn("end_rule", "string", nullable=False, length=50),
    ),
    primary_key="drug_exposure_id",
)
"""Dose and frequency of each drug exposure as numbers, and the rule by which its end is known."""

OBSERVABILITY: Final = CdmTable(
    name="observability",
    is_vocabulary=False,
    columns=(
        _PERSON,
        CdmColumn("source", "string", nullable=False, length=50),
        CdmColumn("provider", "string", nullable=True, length=50),
        CdmColumn("basis", "string", nullable=False, length=20),
        CdmColumn("span_start_date", "date", nullable=False),
        CdmColumn("span_end_date", "date", nullable=False),
        CdmColumn("first_extract_date", "date", nullable=True),
        CdmColumn("last_extract_date", "date", nullable=True),
    ),
    primary_key=None,
)
"""Per person, source and provider a span in which care by the provider would have been seen. `basis` says how that is known:
`registration`, `submission` or `extract`."""

DEATH_RECORD: Final = CdmTable(
    name="death_record",
    is_vocabulary=False,
    columns=(
        _PERSON,
        CdmColumn("death_date", "date", nullable=False),
        CdmColumn("death_datetime", "timestamp", nullable=True),
        CdmColumn("death_type_concept_id", "bigint", nullable=True, references=("concept", "concept_id")),
        CdmColumn("cause_concept_id", "bigint", nullable=True, references=("concept", "concept_id")),
        CdmColumn("cause_source_value", "string", nullable=True, length=50),
        CdmColumn("cause_source_concept_id", "bigint", nullable=True, references=("concept", "concept_id")),
        CdmColumn("source", "string", nullable=False, length=50),
        CdmColumn("provider", "string", nullable=True, length=50),
        CdmColumn("mapping_rule", "string", nullable=False, length=255),
        CdmColumn("is_chosen", "bigint", nullable=False),
    ),
    primary_key=None,
)
"""Every delivered death of a person. `is_chosen` is 1 for the one that the death table has, else 0."""

EVENT_AFTER_DEATH: Final = CdmTable(
    name="event_after_death",
    is_vocabulary=False,
    columns=(
        _PERSON,
        *_EVENT,
        CdmColumn("event_date", "date", nullable=False),
        CdmColumn("death_date", "date", nullable=False),
        CdmColumn("days_after", "bigint", nullable=False),
    ),
    primary_key=None,
)
"""A row of an event or visit table that starts after the death of its person. The row itself stays."""

CONTINUOUS_INPATIENT_SPELL: Final = CdmTable(
    name="continuous_inpatient_spell",
    is_vocabulary=False,
    columns=(
        CdmColumn("continuous_inpatient_spell_id", "bigint", nullable=False),
        _PERSON,
        CdmColumn("spell_start_date", "date", nullable=False),
        CdmColumn("spell_start_datetime", "timestamp", nullable=True),
        CdmColumn("spell_end_date", "date", nullable=False),
        CdmColumn("spell_end_datetime", "timestamp", nullable=True),
        CdmColumn(
            "first_visit_occurrence_id", "bigint", nullable=False, references=("visit_occurrence", "visit_occurrence_id")
        ),
        CdmColumn("last_visit_occurrence_id", "bigint", nullable=False, references=("visit_occurrence", "visit_occurrence_id")),
        CdmColumn("number_of_visits", "bigint", nullable=False),
        CdmColumn("number_of_trusts", "bigint", nullable=False),
        CdmColumn("is_open", "string", nullable=False, length=1),
        CdmColumn("is_day_only", "string", nullable=False, length=1),
        CdmColumn("admission_method_source_value", "string", nullable=True, length=50),
    ),
    primary_key="continuous_inpatient_spell_id",
)
"""One row per stay in hospital from admission to discharge, over transfers (docs/conventions.md)."""

CONTINUOUS_INPATIENT_SPELL_VISIT: Final = CdmTable(
    name="continuous_inpatient_spell_visit",
    is_vocabulary=False,
    columns=(
        CdmColumn("visit_occurrence_id", "bigint", nullable=False, references=("visit_occurrence", "visit_occurrence_id")),
        CdmColumn(
            "continuous_inpatient_spell_id",
            "bigint",
            nullable=False,
            references=("continuous_inpatient_spell", "continuous_inpatient_spell_id"),
            indexed=True,
        ),
        _PERSON,
        CdmColumn("visit_number", "bigint", nullable=False),
        CdmColumn("joined_by", "string", nullable=True, length=50),
        CdmColumn("days_apart", "bigint", nullable=True),
    ),
    primary_key="visit_occurrence_id",
)
"""One row per hospital provider spell: the continuous spell that it is part of, and what joined it to the one before."""

VISIT_TIMING: Final = CdmTable(
    name="visit_timing",
    is_vocabulary=False,
    columns=(
        CdmColumn(
            "visit_occurrence_id",
            "bigint",
            nullable=False,
            references=("visit_occurrence", "visit_occurrence_id"),
            indexed=True,
        ),
        _PERSON,
        CdmColumn("milestone", "string", nullable=False, length=50),
        CdmColumn("milestone_date", "date", nullable=False),
        CdmColumn("milestone_datetime", "timestamp", nullable=True),
        CdmColumn("minutes_since_start", "double", nullable=True),
        CdmColumn("is_expected", "string", nullable=False, length=1),
        CdmColumn("priority_source_value", "string", nullable=True, length=50),
    ),
    primary_key=None,
)
"""One row per visit and milestone that its source has the moment of, or the expected day of."""

MEASUREMENT_HARMONISED: Final = CdmTable(
    name="measurement_harmonised",
    is_vocabulary=False,
    columns=(
        CdmColumn("measurement_id", "bigint", nullable=False, references=("measurement", "measurement_id")),
        _PERSON,
        CdmColumn("measurement_date", "date", nullable=False),
        CdmColumn("analyte", "string", nullable=False, length=50),
        CdmColumn("analyte_concept_id", "bigint", nullable=False, references=("concept", "concept_id")),
        CdmColumn("value_as_number", "double", nullable=True),
        CdmColumn("operator_concept_id", "bigint", nullable=True, references=("concept", "concept_id")),
        CdmColumn("unit_concept_id", "bigint", nullable=False, references=("concept", "concept_id")),
        CdmColumn("conversion_rule", "string", nullable=False, length=50),
        CdmColumn("factor", "double", nullable=True),
        CdmColumn("added", "double", nullable=True),
        CdmColumn("implausible_rule", "string", nullable=True, length=50),
    ),
    primary_key="measurement_id",
)
"""One row per measurement of a declared analyte: its number in the one unit of the analyte (`number * factor + added`)."""

SAME_FACT: Final = CdmTable(
    name="same_fact",
    is_vocabulary=False,
    columns=(
        _PERSON,
        *_EVENT,
        CdmColumn("other_event_id", "bigint", nullable=False, indexed=True),
        CdmColumn("rule", "string", nullable=False, length=20),
        CdmColumn("confidence", "string", nullable=False, length=6),
    ),
    primary_key=None,
)
"""A row of an event table (`event_id`) that says what a row of another recorder says (`other_event_id`), and how sure it is."""

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    EVENT_EVIDENCE.name: EVENT_EVIDENCE,
    DRUG_ORDER_ADMINISTRATION.name: DRUG_ORDER_ADMINISTRATION,
    DRUG_DOSING.name: DRUG_DOSING,
    OBSERVABILITY.name: OBSERVABILITY,
    DEATH_RECORD.name: DEATH_RECORD,
    EVENT_AFTER_DEATH.name: EVENT_AFTER_DEATH,
    CONTINUOUS_INPATIENT_SPELL.name: CONTINUOUS_INPATIENT_SPELL,
    CONTINUOUS_INPATIENT_SPELL_VISIT.name: CONTINUOUS_INPATIENT_SPELL_VISIT,
    VISIT_TIMING.name: VISIT_TIMING,
    MEASUREMENT_HARMONISED.name: MEASUREMENT_HARMONISED,
    SAME_FACT.name: SAME_FACT,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES


@cache
def published_names() -> frozenset[str]:
    """The names of the tables of all versions: what else is in a publication is the work of others."""
    return frozenset(name for version in CDM_VERSIONS for name in published_tables(version))


def released_tables(version: str, made: Collection[str]) -> dict[str, CdmTable]:
    """The published tables that a release has: those of a CDM version, and the derived ones that are among those `made`."""
    return {name: table for name, table in published_tables(version).items() if name not in DERIVED_TABLES or name in made}
