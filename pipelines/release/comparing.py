"""Compares two releases row by row, on the pinned versions of their tables.

Rows are compared as they were released, in the fields of the CDM: by the id of the row where the table has one, otherwise by
their content, so that a changed row is one removed and one added. Only files are read that one of the two versions has and the
other has not. Vocabulary tables are compared by their versions and numbers of rows only; `vocab diff` says what a new
vocabulary means for codes in use.
"""

from dataclasses import dataclass
from typing import Any, Final

import duckdb
from pyarrow import dataset

from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.contracts.zones import Zone
from pipelines.errors import ReleaseError
from pipelines.release.difference import KINDS, NOT_GIVEN, Difference, Part, Versions
from pipelines.release.model import Release
from pipelines.release.published import cdm_of, require_as_released
from pipelines.release.reading import DUCKDB_TYPES, database_in_memory, read_delta
from pipelines.settings import Settings, table_folders
from pipelines.storage.paths import files_below


def compare(settings: Settings, before: Release, after: Release) -> Difference:
    """What is different in `after`. Raises ReleaseError where a version cannot be read any more, or not as it was released."""
    for release in (before, after):
        require_as_released(settings, release)
    described, pinned = cdm_of(before) | cdm_of(after), (_pins(before), _pins(after))
    with database_in_memory(memory_gib=settings.engine.memory_gib) as database:
        _prepare(database)
        for name, table in sorted(described.items()):
            versions = pinned[0].get((Zone.OMOP, name)), pinned[1].get((Zone.OMOP, name))
            if not table.is_vocabulary and versions[0] != versions[1]:
                path = table_folders(settings).path(Zone.OMOP, name)
                _enter(database, table, *(_Side.of(path, v, o) for v, o in (versions, versions[::-1])))
        concepts = _parts(database, "concept")
        return Difference(
            tables=_parts(database, "''"),
            sources=_parts(database, "source"),
            months=_parts(database, "month"),
            concepts=concepts,
            names=_names(settings, after, {part.concept_id for part in concepts if part.concept_id is not None}),
            vocabulary=_vocabulary(before, after),
        )


@dataclass(frozen=True)
class _Side:
    """The rows of a version of a table that lie in files which the other version does not have."""

    path: str
    files: tuple[Any, ...] = ()
    schema: Any = None
    form: Any = None

    @classmethod
    def of(cls, path: str, version: int | None, other: int | None) -> "_Side":
        if version is None:
            return cls(path)
        found = read_delta(path, version)
        shared = {fragment.path for fragment in read_delta(path, other).get_fragments()} if other is not None else set()
        files = tuple(fragment for fragment in found.get_fragments() if fragment.path not in shared)
        return cls(path, files, found.schema, found.format)

    def relation(self, database: duckdb.DuckDBPyConnection, table: CdmTable) -> duckdb.DuckDBPyRelation:
        """Key, content, person (as one of the bits of EVERYBODY), source, month and concept of the rows."""
        if not self.files:
            return database.sql(
                "SELECT NULL::BIGINT AS k, NULL::UBIGINT AS h, NULL::UBIGINT AS who, '' AS source, '' AS month, '' AS concept"
                " LIMIT 0"
            )
        rows = dataset.FileSystemDataset(list(self.files), self.schema, self.form, files_below(self.path))
        return database.from_arrow(rows).project(_compared(table, set(self.schema.names)))


def _prepare(database: duckdb.DuckDBPyConnection) -> None:
    """Make the table for what is found, in whatever order."""
    database.execute("SET preserve_insertion_order = false")
    columns = ", ".join([*(f"{kind} BIGINT" for kind in KINDS), *(f"{kind}_people UBIGINT" for kind in KINDS)])
    database.execute(f"CREATE TABLE different (name VARCHAR, source VARCHAR, month VARCHAR, concept VARCHAR, {columns})")


def _enter(database: duckdb.DuckDBPyConnection, table: CdmTable, before: _Side, after: _Side) -> None:
    """Count the rows of one table that are different."""
    if not before.files and not after.files:
        return
    before.relation(database, table).create_view("before_rows", replace=True)
    after.relation(database, table).create_view("after_rows", replace=True)
    query = _BY_KEY if table.primary_key else _BY_CONTENT
    try:
        database.execute(f"INSERT INTO different {query}", {"name": table.name})
    except duckdb.Error as error:
        # Its message may quote a value of a row.
        raise ReleaseError(f"omop.{table.name} cannot be compared: {type(error).__name__}") from error


_BY_KEY: Final = """
SELECT $name, source, month, concept,
    count(*) FILTER (is_new), count(*) FILTER (is_gone), count(*) FILTER (NOT is_new AND NOT is_gone),
    bit_or(who) FILTER (is_new), bit_or(who) FILTER (is_gone), bit_or(who) FILTER (NOT is_new AND NOT is_gone)
FROM (
    SELECT old.k IS NULL AS is_new, new.k IS NULL AS is_gone,
        CASE WHEN new.k IS NULL THEN old.who ELSE new.who END AS who,
        CASE WHEN new.k IS NULL THEN old.source ELSE new.source END AS source,
        CASE WHEN new.k IS NULL THEN old.month ELSE new.month END AS month,
        CASE WHEN new.k IS NULL THEN old.concept ELSE new.concept END AS concept
    FROM before_rows AS old FULL JOIN after_rows AS new ON old.k = new.k
    WHERE old.k IS NULL OR new.k IS NULL OR old.h <> new.h
)
GROUP BY source, month, concept
"""

_BY_CONTENT: Final = """
SELECT $name, source, month, concept, sum(greatest(surplus, 0)), sum(greatest(-surplus, 0)), 0,
    bit_or(who) FILTER (surplus > 0), bit_or(who) FILTER (surplus < 0), NULL
FROM (
    SELECT h, who, source, month, concept, sum(step) AS surplus
    FROM (SELECT *, 1 AS step FROM after_rows UNION ALL SELECT *, -1 AS step FROM before_rows)
    GROUP BY h, who, source, month, concept
    HAVING sum(step) <> 0
)
GROUP BY source, month, concept
"""


def _compared(table: CdmTable, there: set[str]) -> str:
    """What is compared of a row, of the fields that a version has: one that it has not is as if it were empty."""
    content = ", ".join(_field(column, there) for column in table.columns)
    source = next((name for name in ("_source", "source") if name in there), None)
    day = next((column for column in table.columns if column.type == "date"), None)
    concept = next((column for column in table.columns if _is_main_concept(table, column)), None)
    return ", ".join(
        (
            f'CAST("{table.primary_key}" AS BIGINT) AS k' if table.primary_key else "NULL::BIGINT AS k",
            f"hash({content}) AS h",
            f"{_A_BIT if 'person_id' in there else 'NULL::UBIGINT'} AS who",
            _as_text(f'"{source}"' if source else None, "source"),
            _as_text(f"strftime({_field(day, there)}, '%Y-%m')" if day else None, "month"),
            _as_text(_field(concept, there) if concept else None, "concept"),
        )
    )


_A_BIT: Final = "1::UBIGINT << (hash(person_id) % 64)"


def _as_text(value: str | None, name: str) -> str:
    text = f"coalesce(CAST({value} AS VARCHAR), '{NOT_GIVEN}')" if value else "CAST(NULL AS VARCHAR)"
    return f"{text} AS {name}"


def _field(column: CdmColumn, there: set[str]) -> str:
    name = f'"{column.name}"' if column.name in there else "NULL"
    return f"CAST({name} AS {DUCKDB_TYPES.get(column.type, 'VARCHAR')})"


def _is_main_concept(table: CdmTable, column: CdmColumn) -> bool:
    """Whether a field says what the row is about: `condition_concept_id` of `condition_occurrence`."""
    return column.is_concept and table.name.startswith(column.name.removesuffix("_concept_id"))


def _pins(release: Release) -> dict[tuple[str, str], int]:
    return {(pin.zone, pin.name): pin.version for pin in release.tables}


def _parts(database: duckdb.DuckDBPyConnection, dimension: str) -> tuple[Part, ...]:
    """The parts of one dimension, by table."""
    sums = ", ".join([*(f"CAST(sum({kind}) AS BIGINT)" for kind in KINDS), *(f"bit_or({kind}_people)" for kind in KINDS)])
    given = f"FROM different WHERE {dimension} IS NOT NULL"
    found = database.execute(f"SELECT name, {dimension}, {sums} {given} GROUP BY 1, 2 ORDER BY 1, 2")
    return tuple(
        Part(table, value, added, removed, changed, tuple(people))
        for table, value, added, removed, changed, *people in found.fetchall()
    )


def _names(settings: Settings, release: Release, ids: set[int]) -> dict[str, str]:
    """The names of some concepts in the vocabulary of a release."""
    if not ids:
        return {}
    concepts = read_delta(
        table_folders(settings).path(Zone.VOCABULARY, "concept"), release.pin("vocabulary", "concept").version
    )
    named = concepts.to_table(columns=["concept_id", "concept_name"], filter=dataset.field("concept_id").isin(sorted(ids)))
    return dict(zip(map(str, named.column(0).to_pylist()), named.column(1).to_pylist(), strict=True))


def _vocabulary(before: Release, after: Release) -> tuple[Versions, ...]:
    old, new = ({pin.name: pin for pin in release.tables if pin.zone == Zone.VOCABULARY} for release in (before, after))
    return tuple(
        Versions(
            table=name,
            before=old[name].version if name in old else None,
            after=new[name].version if name in new else None,
            rows_before=old[name].rows if name in old else 0,
            rows_after=new[name].rows if name in new else 0,
        )
        for name in sorted({*old, *new})
        if (old[name].version if name in old else None) != (new[name].version if name in new else None)
    )
