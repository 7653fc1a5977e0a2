"""Counts what a release holds, at the pinned versions of its tables: people by birth and sex, rows by month and source.

Each table is read once, in batches and with the columns that are counted only, so memory does not grow with the release.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb

from pipelines.contracts.cdm import EVENT_TABLES, CdmTable
from pipelines.release.reading import PinnedTable, database_in_memory, read_pinned

MONTHS_SHOWN: Final = 24
"""The months of which rows are shown one by one, up to the month of the run."""

YEARS_IN_BAND: Final = 5

NO_SEX: Final = "not known"

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class ReleaseCounts:
    """What a release holds.

    `people` are by band of years of birth and sex; `rows` by event table, month and source. Months are written 2024-01. The
    rows before them are under the first key of each table, those after them, if there are any, under the last.
    """

    people: Counts
    rows: dict[str, Counts]


def count_release(tables: Mapping[str, PinnedTable], cdm: Mapping[str, CdmTable], run_date: date) -> ReleaseCounts:
    """Count the people and the event tables of a release."""
    with database_in_memory() as connection:
        people = _people(connection, tables) if "person" in tables else {}
        rows = {
            name: _rows(connection, tables[name], _date_of(cdm[name]), months_until(run_date))
            for name in EVENT_TABLES
            if name in tables and name in cdm
        }
    return ReleaseCounts(people, {name: months for name, months in rows.items() if months})


def months_until(run_date: date) -> tuple[str, ...]:
    """The last months up to that of a day, the oldest first."""
    last = run_date.year * 12 + run_date.month - 1
    return tuple(f"{month // 12:04}-{month % 12 + 1:02}" for month in range(last - MONTHS_SHOWN + 1, last + 1))


def names_of_codes(pinned: PinnedTable, codes: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The names of codes (vocabulary and code) that the `concept` table of a release has."""
    if not codes:
        return {}
    with database_in_memory() as connection:
        _view(connection, "concept", pinned)
        found = connection.execute(
            "SELECT vocabulary_id, concept_code, min(concept_name) FROM concept WHERE concept_code IN "
            "(SELECT unnest($codes)) GROUP BY vocabulary_id, concept_code",
            {"codes": [code for _, code in codes]},
        ).fetchall()
    names = {(vocabulary, code): name for vocabulary, code, name in found}
    return {code: names[code] for code in codes if code in names}


def _people(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, PinnedTable]) -> Counts:
    _view(connection, "person", tables["person"])
    _view(connection, "concept", tables["concept"])
    counted = connection.execute(
        "SELECT band, concept_id, lower(concept_name), people FROM ("
        "SELECT year_of_birth // $years * $years AS band, gender_concept_id, count(*) AS people FROM person GROUP BY 1, 2"
        ") LEFT JOIN concept ON concept_id = gender_concept_id ORDER BY band, concept_id",
        {"years": YEARS_IN_BAND},
    ).fetchall()
    people: Counts = defaultdict(lambda: defaultdict(int))
    for band, concept_id, sex, number in counted:
        people[f"{band}-{band + YEARS_IN_BAND - 1}"][sex if concept_id else NO_SEX] += number
    return {band: dict(cells) for band, cells in people.items()}


def _rows(connection: duckdb.DuckDBPyConnection, pinned: PinnedTable, day: str, months: Sequence[str]) -> Counts:
    """Rows by month and source of one table; all months are there where any row is."""
    events = connection.from_arrow(read_pinned(pinned))
    months_of_rows = events.project(f"strftime({day}, '%Y-%m') AS month, _source")
    counted = months_of_rows.aggregate("month, _source, count(*)", "month, _source").order("month, _source").fetchall()
    if not counted:
        return {}
    first, last = months[0], months[-1]
    before, after = f"before {first}", f"after {last}"
    rows: Counts = {name: defaultdict(int) for name in (before, *months, after)}
    for month, source, number in counted:
        rows[before if month < first else after if month > last else month][source] += number
    return {name: dict(cells) for name, cells in rows.items() if cells or name != after}


def _view(connection: duckdb.DuckDBPyConnection, name: str, pinned: PinnedTable) -> None:
    connection.from_arrow(read_pinned(pinned)).create_view(name)


def _date_of(table: CdmTable) -> str:
    """The day on which a row of an event table begins: its first date."""
    return next(column.name for column in table.columns if column.type == "date")
