"""How much of a table a change of its inputs affects, where that is less than the whole.

Codes change far more often than anything else: somebody approves a map, a new vocabulary maps a code to another concept.
What is compared here is small, or a few columns of what is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import differences, union_all
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.contracts.tables import Affected, Extent, InputChanges, Partitions, TableName
from pipelines.contracts.zones import Zone
from pipelines.omop.codes import CODE_MAP_SCHEMA, code_bucket

CONCEPT_MAP = TableName(Zone.INTERMEDIATE, "concept_map")
ROUTES = TableName(Zone.INTERMEDIATE, "routes")

ROUTE = ("_code_key", "vocabulary", "code", "concept_id", "ordinal", "table")
"""Where an event goes, without the concepts that it gets there."""

ROUTED_CONCEPTS = (*ROUTE, "target_concept_id", "source_concept_id", "value_as_concept_id", "map_origin")
"""Everything that an event table takes from its routes."""

_CODE = ("vocabulary", "code")


@dataclass(frozen=True)
class AffectedScope:
    """Which changes of its inputs a table takes notice of; as the `affected` of a declaration.

    A changed input that is not named here affects the whole table. `columns` names for an input the columns that the table
    reads of it. `coded` names for tables of mapped rows, which are inputs too, the fields whose concepts the table takes
    from the concept map: it is affected when a row holds a code of which the concept has changed.
    """

    columns: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)
    coded: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, changes: InputChanges) -> Affected:
        """The whole table or nothing of it."""
        if not changes.names <= {*self.columns, *([CONCEPT_MAP] if self.coded else [])}:
            return Extent.WHOLE
        if any(_has_changed(changes, name, columns) for name, columns in self.columns.items()):
            return Extent.WHOLE
        if CONCEPT_MAP in changes.names and not _rows_with_changed_code(changes, self.coded).isEmpty():
            return Extent.WHOLE
        return Extent.NOTHING


@dataclass(frozen=True)
class EventScope:
    """Which buckets of an event table a change of codes affects; as the `affected` of its declaration.

    `table` is its name, `stems` are the tables of its events and `fields` the concept fields that it has beside the main
    concept. `columns` names for other inputs the columns that it reads; where they have changed all of it is affected.
    """

    table: str
    stems: tuple[TableName, ...]
    fields: tuple[str, ...]
    columns: Mapping[TableName, tuple[str, ...]]

    def __call__(self, changes: InputChanges) -> Affected:
        """Some buckets, all or none."""
        if not changes.names <= {ROUTES, CONCEPT_MAP, *self.columns}:
            return Extent.WHOLE
        if any(_has_changed(changes, name, columns) for name, columns in self.columns.items()):
            return Extent.WHOLE
        buckets = _buckets([*self._of_routes(changes), *self._of_fields(changes)])
        return Partitions(CODE_BUCKET, buckets) if buckets else Extent.NOTHING

    def _of_routes(self, changes: InputChanges) -> list[DataFrame]:
        if ROUTES not in changes.names:
            return []
        before, now = changes.before(*ROUTES), changes.now(*ROUTES)
        is_own = F.col("table") == self.table
        changed = differences(before.where(is_own), now.where(is_own), ROUTED_CONCEPTS)
        return [changed.select(code_bucket(*[F.col(name) for name in (*_CODE, "concept_id")]).alias(CODE_BUCKET))]

    def _of_fields(self, changes: InputChanges) -> list[DataFrame]:
        if CONCEPT_MAP not in changes.names or not self.fields:
            return []
        coded = dict.fromkeys(self.stems, self.fields)
        return [_rows_with_changed_code(changes, coded, CODE_BUCKET)]


def _has_changed(changes: InputChanges, name: TableName, columns: Sequence[str]) -> bool:
    return name in changes.names and not differences(changes.before(*name), changes.now(*name), columns).isEmpty()


def _rows_with_changed_code(changes: InputChanges, coded: Mapping[TableName, tuple[str, ...]], *columns: str) -> DataFrame:
    """The rows of mapped tables that hold, in one of some fields, a code of which the concept has changed."""
    differing = differences(changes.before(*CONCEPT_MAP), changes.now(*CONCEPT_MAP), tuple(CODE_MAP_SCHEMA))
    changed = differing.select(F.col("source_vocabulary_id").alias("vocabulary"), F.col("source_code").alias("code"))
    held = [
        changes.now(*name).select(
            *columns, F.col(f"{field}_vocabulary").alias("vocabulary"), F.col(f"{field}_code").alias("code")
        )
        for name, fields in coded.items()
        for field in fields
    ]
    return union_all(held).join(F.broadcast(changed.distinct()), on=list(_CODE), how="left_semi").select(*columns or _CODE)


def _buckets(frames: Iterable[DataFrame]) -> tuple[int, ...]:
    found = list(frames)
    rows = union_all(found).distinct().toArrow().to_pylist() if found else []
    return tuple(sorted(row[CODE_BUCKET] for row in rows))
