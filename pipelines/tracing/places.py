"""Where a record was delivered: the silver row, and for whoever may read the restricted root the file, line and delivery."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pipelines.contracts.source import LINE, WITHHELD
from pipelines.contracts.zones import Zone
from pipelines.ingest.register import Registered
from pipelines.progress import Field
from pipelines.tracing.lake import Lake, Record
from pipelines.tracing.origins import Origin

NOT_IN_SILVER: Final = "not in silver any more: its record has changed since the release was made"

PLACE_COLUMNS: Final = ("row_key", "provider_code", "_flags", WITHHELD)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the record of an origin is: its entity, and its row of silver; None where it is not there any more.

    `line` has file and line of the delivered row; None without rights to the restricted root.
    """

    source: str
    entity: str
    silver: Record | None
    line: Record | None

    @property
    def table(self) -> str:
        """The table of bronze and silver."""
        return f"{self.source}_{self.entity}"


def places_of(lake: Lake, origins: Iterable[Origin]) -> dict[Origin, Place]:
    """The places of those origins that are of a record; the mapping says which entity a rule takes."""
    by_entity: dict[tuple[str, str], list[Origin]] = defaultdict(list)
    for origin in origins:
        if origin.rule in lake.rules:
            source, rule = lake.rules[origin.rule]
            by_entity[source, rule.from_].append(origin)
    places: dict[Origin, Place] = {}
    for (source, entity), members in by_entity.items():
        keys = {"row_key": [origin.row_key for origin in members]}
        rows = {row["row_key"]: row for row in lake.rows(Zone.SILVER, f"{source}_{entity}", keys, PLACE_COLUMNS)}
        lines = _lines_of(lake, source, {"entity": entity, "is_winner": True} | keys)
        places |= {origin: Place(source, entity, rows.get(origin.row_key), lines.get(origin.row_key)) for origin in members}
    return places


def _lines_of(lake: Lake, source: str, where: dict[str, object]) -> dict[str, Record]:
    """The lines of some records by row key; none without rights to the restricted root, where alone they are known."""
    if not lake.may_read_restricted:
        return {}
    return {row["row_key"]: row for row in lake.rows(Zone.CURATION, f"versions_{source}", where, ("row_key", *LINE))}


def path_of(file: Registered) -> str:
    """A file as its delivery names it."""
    return f"{file.source}/{file.provider}/{file.folder}/{file.file_name}"


def line_of(lake: Lake, place: Place) -> dict[str, Field]:
    """File and line of a silver row; nothing without rights to the restricted root."""
    if place.silver is None or place.line is None:
        return {}
    file = lake.register.get(place.line["_file"])
    return {"file": path_of(file) if file else "of a delivery that was withdrawn", "line": place.line["_line"]}
