"""Which delivered row of a record is the valid one.

A record is what has one business key at one provider. Of its rows the newest well-formed one wins; the others are
superseded, or duplicates where their content is the winner's. A winner marked as deleted, or missing from the newest full
delivery of its provider, is deleted at source.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.keyed import Pads, message_of, row_key
from pipelines.columns.text import is_one_of, trimmed
from pipelines.columns.values import READERS
from pipelines.contracts.source import ColumnType, Direct, Entity, SourceContract

LINE = ("_load_id", "_file", "_line")
"""What finds a delivered row again: the load, the file and the physical line."""

DISPOSITION_SCHEMA = {
    "_load_id": "string",
    "_file": "string",
    "_line": "bigint",
    "row_key": "string",
    "person_id": "bigint",
    "is_winner": "boolean",
    "disposition": "string",
    "reason": "string",
}
"""One row per delivered row: where it lies, which record and person it belongs to and what became of it."""

FILE_SCHEMA = {"_file": "string", "_effective": "string", "_is_current": "boolean"}
"""One row per registered file: when its content took effect, and whether the newest full delivery still holds it."""

DIRECT_VERSION_SCHEMA = {name: kind for name, kind in DISPOSITION_SCHEMA.items() if name != "person_id"} | dict.fromkeys(
    ("_provider", "nhs_number", "nhs_number_status", "local_id"), "string"
)
"""Columns of `version_rows` for an entity that names its people itself."""

_SEPARATOR = "|"


@dataclass(frozen=True)
class EntityOf:
    """An entity with its name and its source's contract."""

    contract: SourceContract
    name: str

    @property
    def source(self) -> str:
        """The source's name."""
        return self.contract.source

    @property
    def spec(self) -> Entity:
        """The entity's declaration."""
        return self.contract.entities[self.name]

    @property
    def table(self) -> str:
        """The name of its tables in bronze and silver."""
        return f"{self.source}_{self.name}"

    def own_key(self) -> Column:
        """The keyed name of a row of trimmed values; parts of its key may be missing."""
        return row_key(self.source, self.name, F.col("_provider"), [F.col(column) for column in self.spec.key])

    def key_of(self, entity: str, columns: tuple[str, ...]) -> Column:
        """The keyed name of the row of `entity` that our trimmed `columns` point to; null where one of them is missing."""
        parts = [F.col(column) for column in columns]
        present = reduce(lambda left, right: left & right, [part.isNotNull() for part in parts])
        return F.when(present, row_key(self.source, entity, F.col("_provider"), parts))


def _sortable(column: str, kind: ColumnType) -> Column:
    value = F.col(column)
    match kind:
        case ColumnType.INTEGER:
            text = F.lpad(READERS[kind](value).cast("string"), 20, "0")
        case ColumnType.DATE | ColumnType.TIMESTAMP:
            text = F.date_format(READERS[ColumnType.TIMESTAMP](value), "yyyyMMddHHmmss")
        case _:
            text = value
    return F.coalesce(text, F.lit(""))


def _order(spec: Entity) -> Column:
    """A text that sorts the rows of a record from oldest to newest and is different for every row.

    What the source declares comes before the day of delivery: a provider may send an older state again.
    """
    declared = [_sortable(column, spec.columns[column].type) for column in spec.version]
    line = F.lpad(F.col("_line").cast("string"), 12, "0")
    return F.concat_ws(_SEPARATOR, *declared, F.col("_effective"), F.col("_file"), line)


def _unusable(spec: Entity) -> Column:
    """Why a row cannot stand for its record: malformed, without a key, a required value missing or unreadable."""
    parts = [F.col(name).isNull() for name in spec.key]
    without_key = reduce(lambda left, right: left & right, parts)
    reasons = [F.col("_reason"), F.when(without_key, F.lit("missing_key"))]
    for name, column in spec.columns.items():
        if column.required:
            value = F.col(name)
            reasons.append(F.when(value.isNull(), F.lit(f"missing:{name}")))
            reasons.append(F.when(READERS[column.type](value).isNull(), F.lit(f"untypable:{name}")))
    return F.coalesce(*reasons)


def _subject_columns(entity: EntityOf) -> list[Column]:
    subject = entity.spec.subject
    if subject.via:
        return [entity.key_of(subject.via.entity, subject.via.columns).alias("parent_key")]
    if subject.direct:
        return _direct_columns(subject.direct)
    return []


def _direct_columns(direct: Direct) -> list[Column]:
    status = F.col(direct.nhs_number_status) if direct.nhs_number_status else F.lit(None).cast("string")
    return [
        F.col(direct.nhs_number).alias("nhs_number"),
        status.alias("nhs_number_status"),
        F.col(direct.local_id).alias("local_id"),
    ]


def _raised(flag_column: str | None, values: tuple[str, ...]) -> Column:
    return is_one_of(F.col(flag_column), values) if flag_column else F.lit(False)


def version_rows(bronze: DataFrame, files: DataFrame, entity: EntityOf, pads: Pads) -> DataFrame:
    """One row per delivered row of an entity, with the disposition that its record's other rows give it.

    `bronze` rows of files that are not in `files` (FILE_SCHEMA) are no part of the lakehouse. Columns: LINE, `_provider`,
    `row_key` (null where unusable), `is_winner`, `disposition` (null for a winner that is still valid), `reason`, and what
    ties the row to a person: `parent_key`, or `nhs_number`, `nhs_number_status` and `local_id`.
    """
    spec = entity.spec
    known = trimmed_values(bronze.join(F.broadcast(files), on="_file", how="inner"), _columns_read(spec))
    key_text = message_of([F.col("_provider"), *[F.col(name) for name in spec.key]])
    deleted, test = spec.deleted, spec.test
    rows = known.select(
        *LINE,
        "_provider",
        *spec.key,
        *_subject_inputs(entity),
        _unusable(spec).alias("_unusable"),
        key_text.alias("_key"),
        _order(spec).alias("_order"),
        F.col("_row_hash").cast("string").alias("_content"),
        F.col("_is_current"),
        _raised(deleted.column if deleted else None, deleted.values if deleted else ()).alias("_deleted"),
        _raised(test.column if test else None, test.values if test else ()).alias("_test"),
    )
    newest = F.max(F.concat_ws(_SEPARATOR, "_order", "_content")).alias("_newest")
    winners = rows.where(F.col("_unusable").isNull()).groupBy("_key").agg(newest)
    judged = rows.join(winners, on="_key", how="left")
    is_usable = F.col("_unusable").isNull()
    is_winner = is_usable & (F.concat_ws(_SEPARATOR, "_order", "_content") == F.col("_newest"))
    same_content = F.col("_newest").endswith(F.concat(F.lit(_SEPARATOR), F.col("_content")))
    disposition = (
        F.when(~is_usable, F.lit("quarantined"))
        .when(~is_winner & same_content, F.lit("duplicate"))
        .when(~is_winner, F.lit("superseded"))
        .when(F.col("_deleted") | ~F.col("_is_current"), F.lit("deleted_at_source"))
        .when(F.col("_test"), F.lit("test_patient"))
    )
    reason = F.coalesce(
        F.col("_unusable"),
        F.when(is_winner & F.col("_deleted"), F.lit("deleted_flag")),
        F.when(is_winner & ~F.col("_is_current"), F.lit("absent_from_full")),
    )
    keyed = pads.joined_to(judged)
    return keyed.select(
        *LINE,
        "_provider",
        F.when(is_usable, entity.own_key()).alias("row_key"),
        F.coalesce(is_winner, F.lit(False)).alias("is_winner"),
        disposition.alias("disposition"),
        reason.alias("reason"),
        *_subject_columns(entity),
    )


def trimmed_values(frame: DataFrame, columns: Iterable[str]) -> DataFrame:
    """`frame` with some of its columns trimmed: once, so that what is made of them stays a short expression to plan."""
    return frame.withColumns({column: trimmed(F.col(column)) for column in columns})


def _columns_read(spec: Entity) -> list[str]:
    """The delivered columns that decide about a row."""
    subject, flags = spec.subject, [flag.column for flag in (spec.deleted, spec.test) if flag]
    direct = (subject.direct.nhs_number, subject.direct.nhs_number_status, subject.direct.local_id) if subject.direct else ()
    required = [name for name, column in spec.columns.items() if column.required]
    names = [*spec.key, *spec.version, *flags, *required, *(subject.via.columns if subject.via else ()), *direct]
    return [name for name in dict.fromkeys(names) if name]


def _subject_inputs(entity: EntityOf) -> list[str]:
    subject = entity.spec.subject
    names: tuple[str | None, ...] = ()
    if subject.via:
        names = subject.via.columns
    elif subject.direct:
        names = (subject.direct.nhs_number, subject.direct.nhs_number_status, subject.direct.local_id)
    return [name for name in dict.fromkeys(names) if name and name not in entity.spec.key]
