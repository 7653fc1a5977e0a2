"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from functools import cache
from typing import Final

from pipelines.contracts.cdm import CdmColumn, CdmTable, cdm_tables

EVENT_EVIDENCE: Final = CdmTable(
    name="event_evidence",
    is_vocabulary=False,
    columns=(
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
        CdmColumn("event_table", "string", nullable=False, length=20),
        CdmColumn("event_id", "bigint", nullable=False),
        CdmColumn("evidence", "string", nullable=False, length=12),
        CdmColumn("date_precision", "string", nullable=False, length=5),
        CdmColumn("end_date_precision", "string", nullable=True, length=5),
    ),
    primary_key=None,
)
"""How each event is known (`Evidence`) and how exactly its dates are (`DatePrecision`); `event_id` is of `event_table`."""

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    EVENT_EVIDENCE.name: EVENT_EVIDENCE,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
