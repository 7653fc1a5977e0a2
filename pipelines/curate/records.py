"""What each delivered row says of itself: which record it is of, how new it is, whose it is and whether it can be used.

Bronze is read once for all decisions about rows. What follows reads these narrow rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true
from pipelines.columns.frames import union_all
from pipelines.columns.keyed import Pads, row_key
from pipelines.columns.nhs_number import digits_of, is_valid
from pipelines.columns.text import is_one_of, is_rounded, names_nobody, trimmed
from pipelines.columns.values import (
    known,
    moment_to_sort_by,
    number_to_sort_by,
    padded,
    period_in,
    read,
    with_moments_to_sort_by,
)
from pipelines.contracts.ledger import UNREADABLE
from pipelines.contracts.source import LOAD, ColumnType, Entity, Flag, Identifier
from pipelines.contracts.source import Column as DeliveredColumn
from pipelines.curate.entities import EntityOf

RECORD_SCHEMA = {
    "entity": "string",
    "_provider": "string",
    "_file": "string",
    "_line": "bigint",
    "row_key": "string",
    "parent_key": "string",
    "shared_key": "string",
    "same_key": "string",
    "nhs_number": "string",
    "nhs_number_status": "string",
    "local_id": "string",
    "birth_date": "string",
    "sex": "string",
    "gender": "string",
    "declared_version": "string",
    "period": "string",
    "submission": "string",
    "content": "bigint",
    "is_deleted": "boolean",
    "is_test": "boolean",
    "is_confidential": "boolean",
    "is_ended": "boolean",
    "unusable": "string",
    "no_period": "string",
    LOAD: "string",
}
"""One row per delivered row of a source, by what it says itself.

`row_key` names its record, also where the row cannot be used, `parent_key` the record that it belongs to, or the agreement by
which it is shared; `shared_key` is the
key of shared records. `same_key` names that of which there is one record (`one_per` of its entity), null where a part of the
name is missing, and `is_ended` says whether that has ended. `declared_version` is what the row says of its version as a text
that sorts (parts that are missing or unreadable are UNKNOWN_VERSION), `period` its reporting period, `submission` whose
submission of it the row is of, a SEPARATOR and its number as a text that sorts (null where it does not say both), `content` the
hash of its content. `unusable` is the reason of quarantine, `no_period` that of a row which does not say of which period it is,
for deliveries by period.
"""

_VALUE = "_value_"
"""Stands before the name of a column for what was read of it."""

_IS_DELETED = "_is_deleted"
"""Whether the flag of deletion of a row is raised."""

_DIGITS = "_digits_"
"""Stands before the name of a column for the NHS number in it."""

SEPARATOR = "|"
UNKNOWN_VERSION = "0"
"""A part of a version that is missing or unreadable: the oldest there is."""
_KNOWN_VERSION = "1"
"""Stands before every part of a version that is known."""

_STATEMENT_SCHEMA = {
    "entity": "string",
    "_provider": "string",
    "_file": "string",
    "_line": "bigint",
    LOAD: "string",
    "message": "string",
    "parent_message": "string",
    "shared_key": "string",
    "same_key": "string",
    "period": "string",
    "period_column": "string",
    "submitted_by": "string",
    "nhs_number": "string",
    "nhs_number_status": "string",
    "local_id": "string",
    "birth_date": "string",
    "sex": "string",
    "gender": "string",
    "content": "bigint",
    "is_deleted": "boolean",
    "is_test": "boolean",
    "is_confidential": "boolean",
    "is_ended": "boolean",
    "unusable": "string",
}
"""One row per delivered row before files, keys and versions are known: everything that differs from entity to entity.

The parts of its version follow as they were delivered, in columns of `_version_parts`.
"""

_Part = tuple[int, bool]
"""A part of a version: its place, the most significant first, and whether it is a moment (else it is a number)."""

_MISSING = "missing:"
"""Begins the reason of a row without a value that it needs, before the name of its column."""

_IDS = (ColumnType.TEXT, ColumnType.CODE, ColumnType.INTEGER)
"""The types of the columns of a key that are ids."""

_NOT_DECLARED = ""
"""A part of a version that the entity does not have."""


def record_rows(bronze: Mapping[str, DataFrame], entities: Iterable[EntityOf], pads: Pads) -> DataFrame:
    """The rows of a source (RECORD_SCHEMA). `bronze` holds its tables by entity.

    What a row says depends on nothing but the row, so a new load leaves the records of others alone. Keys are hashed and
    versions read after the entities have become one frame, so that the engine plans that once.
    """
    entities = tuple(entities)
    shared = _columns_of_shared_keys(entities)
    parts = sorted({part for entity in entities for part in _version_parts(entity.spec)})
    stated = union_all([_stated(bronze[entity.name], entity, shared.get(entity.name, ()), parts) for entity in entities])
    moments = [_version_column(part) for part in parts if _is_moment(part)]
    sortable = with_moments_to_sort_by(stated, moments)
    with_periods = sortable.withColumn("period_read", period_in(F.col("period")))
    values = {
        "row_key": row_key(F.col("message")),
        "parent_key": row_key(F.col("parent_message")),
        "declared_version": _declared_version(parts),
        "period": F.col("period_read"),
        "submission": _submission(parts),
        "no_period": _no_period(),
    }
    return pads.joined_to(with_periods).select(*[values.get(name, F.col(name)).alias(name) for name in RECORD_SCHEMA])


def _submission(parts: Sequence[_Part]) -> Column:
    """Whose submission a row is of, and its number; null where either is not known."""
    number = _sortable(parts[-1]) if parts else F.lit(None)
    is_known = F.col("period_read").isNotNull() & number.startswith(_KNOWN_VERSION)
    return F.when(is_known, F.concat("submitted_by", F.lit(SEPARATOR), number))


def _no_period() -> Column:
    """Why nobody can say of which period a row is; null of entities without periods, and of rows that say their deletion."""
    what = F.when(F.col("period").isNull(), F.lit(_MISSING)).when(F.col("period_read").isNull(), F.lit(UNREADABLE))
    return F.when(~F.col("is_deleted"), F.concat(what, F.col("period_column")))


def _stated(bronze: DataFrame, entity: EntityOf, shared_columns: tuple[str, ...], parts: Iterable[_Part]) -> DataFrame:
    """What the rows of one entity say (_STATEMENT_SCHEMA), and the `parts` of their versions."""
    spec = entity.spec
    submitted = [entity.contract.submissions.of] if spec.period and entity.contract.submissions else []
    trimmed_rows = trimmed_values(bronze, dict.fromkeys((*_columns_read(spec), *shared_columns, *submitted)))
    rows = with_values_read(trimmed_rows, spec, _values_judged(spec))
    rows = rows.withColumn(_IS_DELETED, is_raised(spec.deleted, spec)) if spec.deleted else rows
    direct, parent = spec.subject.direct, spec.subject.via or spec.agreement
    values = {
        "entity": F.lit(entity.name),
        "message": entity.own_message(),
        "content": F.col("_row_hash"),
        "is_deleted": F.col(_IS_DELETED) if spec.deleted else F.lit(False),
        "is_test": reduce(or_, [is_raised(flag, spec) for flag in spec.test], F.lit(False)),
        "is_confidential": reduce(or_, [_may_be_raised(flag, spec) for flag in spec.confidential], F.lit(False)),
        "unusable": _unusable(spec),
    }
    if spec.period:
        values |= {"period": F.col(spec.period), "period_column": F.lit(spec.period)}
        if submissions := entity.contract.submissions:
            values["submitted_by"] = F.upper(submissions.of)
    if parent:
        values["parent_message"] = entity.message_of(parent.entity, parent.columns)
    if spec.one_per:
        rows, named_by = _with_usable_numbers(rows, spec, spec.one_per.columns)
        values["same_key"] = entity.message_of(spec.one_per.entity, named_by, spec.one_per.may_be_empty)
        ended = spec.one_per.ended
        values |= {"is_ended": known(spec.columns[ended].type, value_of(ended)).isNotNull()} if ended else {}
    if direct:
        values |= {"nhs_number": F.col(direct.nhs_number), "local_id": _local_id(direct.local_id, entity)}
        status = direct.nhs_number_status
        values |= {"nhs_number_status": _in_normal_form(spec.columns[status], F.col(status))} if status else {}
        values |= {kind: F.col(name) for kind, name in (("sex", direct.sex), ("gender", direct.gender)) if name}
        birth = spec.identified_by(Identifier.BIRTH_DATE)
        values |= {"birth_date": known(ColumnType.DATE, value_of(birth))} if birth else {}
    if shared_columns:
        values["shared_key"] = _shared_key(shared_columns)
    declared = _version_parts(spec)
    schema = _STATEMENT_SCHEMA | {_version_column(part): "string" for part in parts}
    values |= {_version_column(part): F.col(declared[part]) if part in declared else F.lit(_NOT_DECLARED) for part in parts}
    own = ("_provider", "_file", "_line", LOAD)
    columns = {name: values[name] if name in values else F.lit(None) for name in schema if name not in own}
    return rows.select(
        *[(columns[name] if name in columns else F.col(name)).cast(kind).alias(name) for name, kind in schema.items()]
    )


def _with_usable_numbers(rows: DataFrame, spec: Entity, columns: tuple[str, ...]) -> tuple[DataFrame, tuple[str, ...]]:
    """`rows` with the NHS numbers among some trimmed columns as ten digits, null unless valid, and the columns to take."""
    numbers = {name: f"{_DIGITS}{name}" for name in columns if spec.columns[name].identifier is Identifier.NHS_NUMBER}
    for name, digits in numbers.items():
        rows = rows.withColumn(digits, digits_of(F.col(name)))
        rows = rows.withColumn(digits, F.when(is_valid(F.col(digits)), F.col(digits)))
    return rows, tuple(numbers.get(name, name) for name in columns)


def trimmed_values(frame: DataFrame, columns: Iterable[str]) -> DataFrame:
    """`frame` with some of its columns trimmed: once, so that what is made of them stays a short expression to plan."""
    return frame.withColumns({column: trimmed(F.col(column)) for column in columns})


def with_values_read(frame: DataFrame, spec: Entity, columns: Iterable[str]) -> DataFrame:
    """`frame` with what was read of some trimmed columns, for `value_of`: read once, however often the value is used."""
    return frame.select("*", *[read(spec.columns[name], F.col(name)).alias(f"{_VALUE}{name}") for name in columns])


def value_of(column: str) -> Column:
    """What `with_values_read` read of a column; null if it is missing or unreadable."""
    return F.col(f"{_VALUE}{column}")


def _values_judged(spec: Entity) -> list[str]:
    """The columns whose values decide about a row, not their text."""
    required = [name for name, column in spec.columns.items() if column.required and column.type is not ColumnType.TEXT]
    birth = spec.identified_by(Identifier.BIRTH_DATE) if spec.subject.direct else None
    ended = spec.one_per.ended if spec.one_per else None
    return list(dict.fromkeys([*required, *[name for name in (birth, ended) if name]]))


def _columns_read(spec: Entity) -> list[str]:
    """The delivered columns that decide about a row."""
    subject, flags = spec.subject, [flag.column for flag in spec.flags]
    direct = (*subject.direct.columns, spec.identified_by(Identifier.BIRTH_DATE)) if subject.direct else ()
    required = [name for name, column in spec.columns.items() if column.required]
    period = [spec.period] if spec.period else []
    parent = subject.via or spec.agreement
    via = parent.columns if parent else ()
    one_per = spec.one_per.used if spec.one_per else ()
    names = [*spec.key, *spec.version, *period, *flags, *required, *via, *one_per, *direct]
    return [name for name in names if name]


def _columns_of_shared_keys(entities: Iterable[EntityOf]) -> dict[str, tuple[str, ...]]:
    """The columns of the key that shared records and the records which refer to them have in common, by entity."""
    columns: dict[str, tuple[str, ...]] = {}
    for entity in entities:
        shared = entity.spec.subject.shared
        if shared:
            columns |= {entity.name: shared.columns, shared.entity: shared.theirs}
    return columns


def _shared_key(columns: tuple[str, ...]) -> Column:
    """What a shared record and the records that refer to it have in common, within a provider."""
    return F.concat_ws(SEPARATOR, F.col("_provider"), *[F.coalesce(F.col(column), F.lit("")) for column in columns])


def _local_id(column: str, entity: EntityOf) -> Column:
    """A local identifier with that within which it is unique behind it; null if it is missing or stands for nobody."""
    local_id, within = F.when(~names_nobody(F.col(column)), F.col(column)), entity.contract.local_ids.within
    if within is None:
        return local_id
    scope = _in_normal_form(entity.spec.columns[within], F.col(within))
    return F.concat(local_id, F.lit(SEPARATOR), F.coalesce(scope, F.lit("")))


def _version_parts(spec: Entity) -> dict[_Part, str]:
    """The version columns of an entity by what part of its version they are."""
    moments = (ColumnType.DATE, ColumnType.TIMESTAMP)
    return {(place, spec.columns[column].type in moments): column for place, column in enumerate(spec.version)}


def _is_moment(part: _Part) -> bool:
    return part[1]


def _version_column(part: _Part) -> str:
    place, is_moment = part
    return f"version_{place}_{'moment' if is_moment else 'number'}"


def _declared_version(parts: Iterable[_Part]) -> Column:
    """What a row says of its version as one text that sorts; without letters and digits where its entity declares none.

    It comes before the day of delivery: a provider may send an older state again.
    """
    return F.concat_ws(SEPARATOR, F.lit(""), *[_sortable(part) for part in parts])


def _sortable(part: _Part) -> Column:
    """A part of a version as a text that sorts as its type does, after UNKNOWN_VERSION."""
    name = _version_column(part)
    text = F.col(name)
    value = moment_to_sort_by(name) if _is_moment(part) else number_to_sort_by(text)
    known_part = F.coalesce(F.concat(F.lit(_KNOWN_VERSION), value), F.lit(UNKNOWN_VERSION))
    return F.when(text == _NOT_DECLARED, F.lit("")).otherwise(known_part)


def _unusable(spec: Entity) -> Column:
    """Why a row cannot be the row of its record.

    It is malformed or has no key, or one that was rounded, so that others have it too; a required value is missing or
    unreadable, or one of its flags cannot be read. A row that is deleted may have nothing but its key.
    """
    without_key = reduce(lambda left, right: left & right, [F.col(name).isNull() for name in spec.key])
    reasons = [(F.col("_reason").isNotNull(), F.col("_reason")), (without_key, F.lit("missing_key"))]
    reasons += [(is_rounded(F.col(name)), F.lit(f"{UNREADABLE}{name}")) for name in spec.key if spec.columns[name].type in _IDS]
    needed = {name: _required(name, column) for name, column in spec.columns.items() if column.required}
    reasons += [reason for name in needed if name in spec.key for reason in needed[name]]
    stays = ~F.col(_IS_DELETED)
    others = [reason for name in needed if name not in spec.key for reason in needed[name]]
    reasons += [(stays & fails, reason) if spec.deleted else (fails, reason) for fails, reason in others]
    return first_true([*reasons, *[why for flag in spec.flags for why in _unreadable_flag(flag, spec)]])


def _required(name: str, column: DeliveredColumn) -> list[tuple[Column, Column]]:
    """What is wrong with rows without a required value, with its reason."""
    text = F.col(name)
    reasons = [(text.isNull(), F.lit(f"{_MISSING}{name}"))]
    if column.type is not ColumnType.TEXT:
        value = value_of(name)
        reasons.append((value.isNull(), F.lit(f"{UNREADABLE}{name}")))
        if column.type in (ColumnType.DATE, ColumnType.TIMESTAMP):
            reasons.append((known(column.type, value).isNull(), F.lit(f"{_MISSING}{name}")))
    return reasons


def is_raised(flag: Flag | None, spec: Entity) -> Column:
    """Whether the trimmed column of a flag says so; false if it is missing. Codes are compared in their normal form."""
    if flag is None:
        return F.lit(False)
    column, text = spec.columns[flag.column], F.col(flag.column)
    if column.type is ColumnType.BOOLEAN:
        said = read(column, text)
        return is_true(~said if flag.negated else said)
    return is_one_of(_in_normal_form(column, text), flag.values)


def _may_be_raised(flag: Flag, spec: Entity) -> Column:
    """Whether a flag is raised, or nobody can say whether it is."""
    return reduce(or_, [unreadable for unreadable, _ in _unreadable_flag(flag, spec)], is_raised(flag, spec))


def _unreadable_flag(flag: Flag, spec: Entity) -> list[tuple[Column, Column]]:
    """Whether nobody can say of a row if the flag is raised, with the reason; empty for a flag that nothing else clears."""
    column, text = spec.columns[flag.column], F.col(flag.column)
    if column.type is ColumnType.BOOLEAN:
        is_understood = read(column, text).isNotNull()
    elif flag.cleared:
        is_understood = is_one_of(_in_normal_form(column, text), (*flag.values, *flag.cleared))
    else:
        return []
    return [(text.isNotNull() & ~is_understood, F.lit(f"{UNREADABLE}{flag.column}"))]


def _in_normal_form(column: DeliveredColumn, code: Column) -> Column:
    return code if column.width is None else padded(code, column.width)
