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

DRUG_ORDER_ADMINISTRATION: Final = CdmTable(
    name="drug_order_administration",
    is_vocabulary=False,
    columns=(
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
        CdmColumn("order_drug_exposure_id", "bigint", nullable=False, references=("drug_exposure", "drug_exposure_id")),
        CdmColumn(
            "administration_drug_exposure_id", "bigint", nullable=False, references=("drug_exposure", "drug_exposure_id")
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
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
        CdmColumn("dose_value", "double", nullable=True),
        CdmColumn("dose_unit", "string", nullable=True, length=50),
        CdmColumn("doses_per_day", "double", nullable=True),
        CdmColumn("is_as_needed", "bigint", nullable=True),
        CdmColumn("end_rule", "string", nullable=False, length=50),
    ),
    primary_key="drug_exposure_id",
)
"""Dose and frequency of each drug exposure as numbers, and the rule by which its end is known."""

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    EVENT_EVIDENCE.name: EVENT_EVIDENCE,
    DRUG_ORDER_ADMINISTRATION.name: DRUG_ORDER_ADMINISTRATION,
    DRUG_DOSING.name: DRUG_DOSING,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
