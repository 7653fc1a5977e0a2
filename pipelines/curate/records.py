"""What each delivered row says of itself: which record it is of, how new it is, whose it is and whether it can be used.

Bronze is read once for all decisions about rows. What follows reads these narrow rows.
"""

from collections.abc import Iterable, Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.columns.keyed import Pads, row_key
from pipelines.columns.text import is_one_of, trimmed
from pipelines.columns.values import READERS
from pipelines.contracts.source import ColumnType, Entity, Flag, Identifier
from pipelines.curate.entities import EntityOf

RECORD_SCHEMA = {
    "entity": "string",
    "_provider": "string",
    "_file": "string",
    "_line": "bigint",
    "row_key": "string",
    "parent_key": "string",
    "shared_key": "string",
    "nhs_number": "string",
    "nhs_number_status": "string",
    "local_id": "string",
    "birth_date": "string",
    "sex": "string",
    "version": "string",
    "is_held": "boolean",
    "is_deleted": "boolean",
    "is_test": "boolean",
    "unusable": "string",
}
"""One row per delivered row of the active files of a source.

`row_key` names its record (null where it cannot be used), `parent_key` the record that it belongs to; `shared_key` is the key
of shared records. `version` sorts the rows of a record from oldest to newest and ends with the hash of the content.
`is_held`: the newest full delivery of its provider still holds the content, and its period was not submitted again.
`unusable` is the reason of quarantine.
"""

FILE_SCHEMA = {"_file": "string", "_effective": "string", "_is_current": "boolean", "_replaced": "string"}
"""One row per active file: when its content took effect, and whether the newest full delivery still holds it.

`_replaced` are the reporting periods that a later delivery has replaced, with a SEPARATOR before and after each.
"""

SEPARATOR = "|"

_STATEMENT_SCHEMA = {
    "entity": "string",
    "_provider": "string",
    "_file": "string",
    "_line": "bigint",
    "message": "string",
    "parent_message": "string",
    "shared_key": "string",
    "period": "string",
    "nhs_number": "string",
    "nhs_number_status": "string",
    "local_id": "string",
    "birth_date": "string",
    "sex": "string",
    "declared_version": "string",
    "content": "bigint",
    "is_deleted": "boolean",
    "is_test": "boolean",
    "unusable": "string",
}
"""One row per delivered row before files and keys are known: everything that differs from entity to entity."""


def record_rows(bronze: Mapping[str, DataFrame], entities: Iterable[EntityOf], files: DataFrame, pads: Pads) -> DataFrame:
    """The rows of a source's active files (RECORD_SCHEMA). `bronze` holds its tables by entity, `files` is FILE_SCHEMA.

    Rows of files that are not in `files` belong to no finished load and are left out. Keys are hashed after the entities
    have become one frame, so that the engine plans the hash once.
    """
    entities = tuple(entities)
    shared = _columns_of_shared_keys(entities)
    stated = union_all([_stated(bronze[entity.name], entity, shared.get(entity.name, ())) for entity in entities])
    known = pads.joined_to(stated.join(F.broadcast(files), on="_file", how="inner"))
    line, content = F.lpad(F.col("_line").cast("string"), 12, "0"), F.col("content").cast("string")
    period = F.concat(F.lit(SEPARATOR), F.col("period"), F.lit(SEPARATOR))
    # A row whose period was submitted again is older than every other row: an earlier period may still have its record.
    is_replaced = F.coalesce(F.col("_replaced").contains(period), F.lit(False))
    age = F.when(is_replaced, F.lit("0")).otherwise(F.lit("1"))
    values = {
        "row_key": F.when(F.col("unusable").isNull(), row_key(F.col("message"))),
        "parent_key": F.when(F.col("parent_message").isNotNull(), row_key(F.col("parent_message"))),
        "version": F.concat_ws(SEPARATOR, age, "declared_version", "_effective", "_file", line, content),
        "is_held": F.col("_is_current") & ~is_replaced,
    }
    return known.select(*[values.get(name, F.col(name)).alias(name) for name in RECORD_SCHEMA])


def _stated(bronze: DataFrame, entity: EntityOf, shared_columns: tuple[str, ...]) -> DataFrame:
    """What the rows of one entity say (_STATEMENT_SCHEMA)."""
    spec = entity.spec
    rows = trimmed_values(bronze, dict.fromkeys((*_columns_read(spec), *shared_columns)))
    via, direct = spec.subject.via, spec.subject.direct
    values = {
        "entity": F.lit(entity.name),
        "message": entity.own_message(),
        "declared_version": _declared_version(spec),
        "content": F.col("_row_hash"),
        "is_deleted": _is_raised(spec.deleted),
        "is_test": _is_raised(spec.test),
        "unusable": _unusable(spec),
    }
    if spec.period:
        values["period"] = F.col(spec.period)
    if via:
        values["parent_message"] = entity.message_of(via.entity, via.columns)
    if direct:
        values |= {"nhs_number": F.col(direct.nhs_number), "local_id": F.col(direct.local_id)}
        values |= {"nhs_number_status": F.col(direct.nhs_number_status)} if direct.nhs_number_status else {}
        values |= {"sex": F.col(direct.sex)} if direct.sex else {}
        birth = spec.identified_by(Identifier.BIRTH_DATE)
        values |= {"birth_date": READERS[ColumnType.DATE](F.col(birth))} if birth else {}
    if shared_columns:
        values["shared_key"] = _shared_key(shared_columns)
    own = ("_provider", "_file", "_line")
    columns = {name: values[name] if name in values else F.lit(None) for name in _STATEMENT_SCHEMA if name not in own}
    return rows.select(
        *[
            (columns[name] if name in columns else F.col(name)).cast(kind).alias(name)
            for name, kind in _STATEMENT_SCHEMA.items()
        ]
    )


def trimmed_values(frame: DataFrame, columns: Iterable[str]) -> DataFrame:
    """`frame` with some of its columns trimmed: once, so that what is made of them stays a short expression to plan."""
    return frame.withColumns({column: trimmed(F.col(column)) for column in columns})


def _columns_read(spec: Entity) -> list[str]:
    """The delivered columns that decide about a row."""
    subject, flags = spec.subject, [flag.column for flag in (spec.deleted, spec.test) if flag]
    direct = (*subject.direct.columns, spec.identified_by(Identifier.BIRTH_DATE)) if subject.direct else ()
    required = [name for name, column in spec.columns.items() if column.required]
    period = [spec.period] if spec.period else []
    via = subject.via.columns if subject.via else ()
    names = [*spec.key, *spec.version, *period, *flags, *required, *via, *direct]
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


def _declared_version(spec: Entity) -> Column:
    """The version columns as one text that sorts; null where the entity declares none.

    They come before the day of delivery: a provider may send an older state again.
    """
    if not spec.version:
        return F.lit(None).cast("string")
    return F.concat_ws(SEPARATOR, *[_sortable(column, spec.columns[column].type) for column in spec.version])


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


def _unusable(spec: Entity) -> Column:
    """Why a row cannot be the row of its record: malformed, without a key, a required value missing or unreadable."""
    without_key = reduce(lambda left, right: left & right, [F.col(name).isNull() for name in spec.key])
    reasons = [F.col("_reason"), F.when(without_key, F.lit("missing_key"))]
    for name, column in spec.columns.items():
        if column.required:
            value = F.col(name)
            reasons.append(F.when(value.isNull(), F.lit(f"missing:{name}")))
            if column.type is not ColumnType.TEXT:
                reasons.append(F.when(READERS[column.type](value).isNull(), F.lit(f"untypable:{name}")))
    return F.coalesce(*reasons)


def _is_raised(flag: Flag | None) -> Column:
    return is_one_of(F.col(flag.column), flag.values) if flag else F.lit(False)
