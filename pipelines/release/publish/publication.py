"""What is published: the tables of a release in a version of the CDM, and what every publication checks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from pipelines.contracts.cdm import CdmColumn, CdmTable, version_code_pattern
from pipelines.errors import ReleaseError, is_out_of_space
from pipelines.release.model import Release
from pipelines.release.reading import PinnedTable, literal, quoted, released

TITLE: Final = "nhs-omop release"
"""What the name that a publication gives itself begins with."""

_NAMED: Final = 5
"""Objects that a message names at most."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The tables of a release as they are written.

    `cdm_version` may be another than that of the release: fields and tables that only the other has are empty or left out.
    `grains` says of each table what one row is. `memory_gib` bounds what DuckDB keeps in memory before it writes to disk.
    """

    release: Release
    cdm_version: str
    tables: Mapping[str, CdmTable]
    pinned: Mapping[str, PinnedTable]
    grains: Mapping[str, str] = field(default_factory=dict)
    memory_gib: float = 2.0

    @property
    def title(self) -> str:
        """The release and the version of the CDM, as a publication names itself."""
        return f"{TITLE} {self.release.release_id}, OMOP CDM {self.cdm_version}"

    @contextmanager
    def connected(self, scratch: Path, database: str = ":memory:") -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB connection with bounded memory that keeps what does not fit below `scratch`.

        Raises ReleaseError for an error of DuckDB, without its text, which may quote a value of a row.
        """
        try:
            with duckdb.connect(database) as connection:
                connection.execute(f"SET memory_limit = '{self.memory_gib}GiB'")
                connection.execute(f"SET temp_directory = {literal(str(scratch / 'duckdb'))}")
                yield connection
        except duckdb.OutOfMemoryException as error:
            raise ReleaseError("the publication needs more memory: raise engine.memory_gib") from error
        except duckdb.Error as error:
            why = (
                "a disk is full; free space where it is written" if is_out_of_space(error) else f"DuckDB {type(error).__name__}"
            )
            raise ReleaseError(f"the publication failed: {why}") from error

    def rows_of(self, connection: duckdb.DuckDBPyConnection, table: CdmTable) -> duckdb.DuckDBPyRelation | None:
        """The rows of a table, read in batches when the relation is used; None where the release does not have the table.

        Those about people are in order: as they are stored they lie much as they were delivered, and the patients of a file may
        be in the order of their names or numbers.
        """
        pinned = self.pinned.get(table.name)
        if pinned is None:
            return None
        rows = released(connection, table, pinned, self._replaced(connection) if table.name == "cdm_source" else None)
        return rows if table.is_vocabulary else in_order(rows, table)

    def check_rows(self, name: str, rows: int) -> int:
        """The number of rows that was written of a table. Raises ReleaseError where it is not that of the release."""
        expected = self.pinned[name].rows if name in self.pinned else 0
        if rows != expected:
            raise ReleaseError(f"{name}: {rows:,} rows were written of {expected:,}; the publication is given up")
        return rows

    def describe(self, table: CdmTable) -> str:
        """What one row of a table is."""
        grain = self.grains.get(table.name, "")
        return grain[:1].upper() + grain[1:]

    def _replaced(self, connection: duckdb.DuckDBPyConnection) -> Mapping[str, str]:
        """The fields of cdm_source that name the version, where it is another than that of the release."""
        if self.cdm_version == self.release.cdm_version:
            return {}
        concept = 0
        if "concept" in self.pinned:
            concepts = released(connection, self.tables["concept"], self.pinned["concept"])
            usable = "vocabulary_id = 'CDM' AND concept_class_id = 'CDM' AND standard_concept = 'S' AND invalid_reason IS NULL"
            code = f"regexp_matches(concept_code, {literal(version_code_pattern(self.cdm_version))})"
            found = concepts.filter(f"{usable} AND {code}").aggregate("coalesce(min(concept_id), 0)").fetchall()
            concept = int(found[0][0])
        return {"cdm_version": literal(self.cdm_version), "cdm_version_concept_id": f"CAST({concept} AS BIGINT)"}


def in_order(rows: duckdb.DuckDBPyRelation, table: CdmTable) -> duckdb.DuckDBPyRelation:
    """The rows of a table by the person, then by the key, or by everything where there is none."""
    names = [column.name for column in table.columns]
    rest = [table.primary_key] if table.primary_key else names
    order = dict.fromkeys([*(["person_id"] if "person_id" in names else []), *rest])
    return rows.order(", ".join(map(quoted, order)))


_BY_ENDING = {
    "_type_concept_id": "Where the record comes from",
    "_source_concept_id": "The code as delivered, as a concept; 0 where no vocabulary has it",
    "_source_value": "The code or text as delivered",
    "_concept_id": "A concept; 0 where no standard concept is known",
}


def describe_column(table: CdmTable, column: CdmColumn) -> str:
    """What a field holds, as far as its declaration says it: its key, its concept or the row that it refers to."""
    if column.name == table.primary_key:
        return "Identifies the row; the same from release to release" if not table.is_vocabulary else "Identifies the row"
    ending = next((text for end, text in _BY_ENDING.items() if column.name.endswith(end)), "")
    link = f"refers to {'.'.join(column.references)}" if column.references else ""
    text = "; ".join(filter(None, (ending, link)))
    return text[:1].upper() + text[1:]


def some(names: Sequence[str]) -> str:
    """The first of the objects that are in the way of a publication, for a message."""
    return ", ".join([*names[:_NAMED], *(["..."] if len(names) > _NAMED else [])])
