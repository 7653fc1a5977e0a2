"""What a row of a release can be of: records of silver that a mapping rule took, or other rows of the release."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pipelines.contracts.cdm import EVENT_TABLES, ROUTED_TABLES
from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import Target
from pipelines.omop.declared import ROW_TABLES
from pipelines.tracing.lake import Lake, Record

ROWS_WITH_ID: Final = ("visit_occurrence", "visit_detail", *ROUTED_TABLES, "episode", "note")
"""The tables of which a row has an id of its own and is of a record."""

MAPPED: Final = ("_rule", "_row_key")
"""The columns of mapped rows, and of rows of the release, that say which record a row is of, and by which rule."""

SOUND: Final[Record] = {"_set_aside": None}
"""The condition of mapped rows that no plausibility rule sets aside."""

Key = tuple[str, int]
"""A table and the id of a row of it."""


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """What a row is of: a record of silver (`row_key`) that a rule took, perhaps by way of another row of the release.

    `role` says what the record is to the row where that differs between records.
    """

    table: str = ""
    id: int | None = None
    rule: str = ""
    row_key: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Origins:
    """The first of the origins of a row, how many there are, and in words how they make the row."""

    first: tuple[Origin, ...]
    total: int
    how: str


def table_of_id(lake: Lake, row_id: int) -> list[str]:
    """The tables that have a row with an id of its own that is this one."""
    return [
        name for name in ROWS_WITH_ID if name in lake.tables and lake.released(name, {f"{name}_id": row_id}, (f"{name}_id",))
    ]


def own(row: Record, role: str = "") -> Origin:
    """The record that a row says it is of."""
    return Origin(rule=row["_rule"], row_key=row["_row_key"], role=role)


def listed(rows: Iterable[Record], total: int, how: str, role: Callable[[Record], str] = lambda _: "") -> Origins:
    """The records of some mapped rows, of so many in all."""
    return Origins(tuple(own(row, role(row)) for row in rows), total, how)


def mapped(lake: Lake, target: Target, where: Record, limit: int, how: str) -> Origins:
    """The mapped rows of a target, without those that a plausibility rule sets aside."""
    rows, total = lake.some(Zone.INTERMEDIATE, ROW_TABLES[target], where, MAPPED, limit)
    return listed(rows, total, how)


def through(lake: Lake, keys: list[Key], limit: int, how: str) -> Origins:
    """The origins of other rows of the release; a row of several records, as a visit may be, is there with its first."""
    first = keys[:limit]
    rules: dict[Key, Record] = {}
    for name in dict.fromkeys(table for table, _ in first):
        if name in EVENT_TABLES:
            id_column = f"{name}_id"
            ids = [row_id for table, row_id in first if table == name]
            found = lake.released(name, {id_column: ids}, (id_column, *MAPPED))
            rules |= {(name, row[id_column]): row for row in found}
    origins = [
        Origin(
            name, row_id, *((rules[name, row_id]["_rule"], rules[name, row_id]["_row_key"]) if (name, row_id) in rules else ())
        )
        for name, row_id in first
    ]
    return Origins(tuple(origins), len(keys), how)
