"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from functools import cache
from typing import Final

from pipelines.contracts.cdm import CdmColumn, CdmTable, cdm_tables

_PERSON = CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id"))


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
        CdmColumn("event_table", "string", nullable=False, length=50),
        CdmColumn("event_id", "bigint", nullable=False),
        CdmColumn("event_date", "date", nullable=False),
        CdmColumn("death_date", "date", nullable=False),
        CdmColumn("days_after", "bigint", nullable=False),
    ),
    primary_key=None,
)
"""A row of an event or visit table that starts after the death of its person. The row itself stays."""

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    "observability": OBSERVABILITY,
    "death_record": DEATH_RECORD,
    "event_after_death": EVENT_AFTER_DEATH,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
