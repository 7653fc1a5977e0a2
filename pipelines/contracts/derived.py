"""Derived tables: what a release has beside the tables of the CDM, described in the same terms.

They are made from the tables of the CDM and its inputs, checked by the same gates and published with them; OHDSI's tools do
not know them and do not need them. Every table of a release is in `published_tables`.
"""

from functools import cache
from typing import Final

from pipelines.contracts.cdm import CdmTable, cdm_tables

DERIVED_TABLES: Final[dict[str, CdmTable]] = {}
"""The derived tables by name."""


@cache
def published_tables(version: str) -> dict[str, CdmTable]:
    """The tables of a CDM version and the derived ones by name. Raises ConfigError for an unknown version."""
    return cdm_tables(version) | DERIVED_TABLES
