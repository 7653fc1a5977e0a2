"""What says of whom something has changed: the log of touched persons, and the extracts that mapped rows are judged by."""

from pipelines.contracts.tables import CHANGE, TableName
from pipelines.contracts.zones import Zone

TOUCHED = TableName(Zone.CURATION, "touched_persons")
"""The log by which mapped rows are made again."""

TOUCHED_BY_CODES = TableName(Zone.CURATION, "touched_persons_codes")
"""The log of tables with concepts: TOUCHED, and who has a code that means something else, or is in hospital."""

TOUCHED_BY_PLACES = TableName(Zone.CURATION, "touched_persons_places")
"""The log of the tables of the CDM: TOUCHED_BY_CODES, and who is or was left out or refers to a place that has changed."""

TOUCHED_BY_SUPPLIES = TableName(Zone.CURATION, "touched_persons_supplies")
"""The log of drug exposures and what is made of them: TOUCHED_BY_PLACES, and who takes what lasts until the newest extract."""

TOUCHED_SCHEMA = {"person_id": "bigint", "reason": "string", CHANGE: "bigint"}
"""One row per change, touched person and reason: row, file, code, stay, supply, period, or the name of a changed table."""


def extracts_of(source: str) -> TableName:
    """The table of the extracts that the files of a source are from."""
    return TableName(Zone.INTERMEDIATE, f"extracts_{source}")


EXTRACT_SCHEMA = {"_file": "string", "_extracted_on": "date"}
"""One row per file with rows: the day of the extract that delivered it last."""

NEWEST_EXTRACTS = TableName(Zone.INTERMEDIATE, "newest_extracts")
NEWEST_SCHEMA = {"_source": "string", "_provider": "string", "_known_until": "date"}
"""One row per source and provider: the day of its newest extract, at which what is open ends."""
