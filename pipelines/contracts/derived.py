"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from functools import cache
from typing import Final

from pipelines.contracts.cdm import CdmColumn, CdmTable, cdm_tables

CONTINUOUS_INPATIENT_SPELL: Final = CdmTable(
    name="continuous_inpatient_spell",
    is_vocabulary=False,
    columns=(
        CdmColumn("continuous_inpatient_spell_id", "bigint", nullable=False),
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
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
        ),
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
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
        CdmColumn("visit_occurrence_id", "bigint", nullable=False, references=("visit_occurrence", "visit_occurrence_id")),
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
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

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    "continuous_inpatient_spell": CONTINUOUS_INPATIENT_SPELL,
    "continuous_inpatient_spell_visit": CONTINUOUS_INPATIENT_SPELL_VISIT,
    "visit_timing": VISIT_TIMING,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
