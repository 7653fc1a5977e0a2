"""The zones of the lakehouse, and which of them may hold identity."""

from enum import StrEnum


class Zone(StrEnum):
    """A group of tables with one purpose. Those in RESTRICTED_ZONES live under the restricted root."""

    BRONZE = "bronze"
    CURATION = "curation"
    QUARANTINE = "quarantine"
    LEDGER = "ledger"
    VOCABULARY = "vocabulary"
    SILVER = "silver"
    INTERMEDIATE = "intermediate"
    OMOP = "omop"


ZONE_OF_STAGE = {"ingest": Zone.BRONZE, "curate": Zone.SILVER, "map": Zone.OMOP, "gates": Zone.LEDGER}
"""The zone that a stage of a run makes last."""

RESTRICTED_ZONES = frozenset({Zone.BRONZE, Zone.CURATION, Zone.QUARANTINE, Zone.LEDGER})
"""Zones whose tables are identifiable or sensitive."""
