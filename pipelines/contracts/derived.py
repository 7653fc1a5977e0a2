"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from functools import cache
from typing import Final

from pipelines.contracts.cdm import CdmColumn, CdmTable, cdm_tables

MEASUREMENT_HARMONISED: Final = CdmTable(
    name="measurement_harmonised",
    is_vocabulary=False,
    columns=(
        CdmColumn("measurement_id", "bigint", nullable=False, references=("measurement", "measurement_id")),
        CdmColumn("person_id", "bigint", nullable=False, references=("person", "person_id")),
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

DERIVED_TABLES: Final[dict[str, CdmTable]] = {
    MEASUREMENT_HARMONISED.name: MEASUREMENT_HARMONISED,
}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
