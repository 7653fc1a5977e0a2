"""Silver rows: the valid rows of an entity, typed, tied to a person, without anything that identifies."""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.keyed import Pads, row_key
from pipelines.columns.shapes import without_identifiers
from pipelines.columns.text import postcode_area
from pipelines.columns.values import known
from pipelines.contracts.source import LINE, LOAD, ColumnType, Identifier
from pipelines.curate.entities import EntityOf
from pipelines.curate.records import is_raised, trimmed_values, value_of, with_values_read

_MESSAGE = "_message_"
"""Stands before the name of a reference for the text that its key is the hash of."""


def _subject_parts(entity: EntityOf) -> dict[str, Column]:
    parts: dict[str, Column] = {}
    birth = entity.spec.identified_by(Identifier.BIRTH_DATE)
    if birth:
        born = known(ColumnType.DATE, value_of(birth))
        parts |= {"year_of_birth": F.year(born), "month_of_birth": F.month(born)}
    postcode = entity.spec.identified_by(Identifier.POSTCODE)
    return parts | ({"postcode_area": postcode_area(F.col(postcode))} if postcode else {})


def _shown(name: str, entity: EntityOf) -> Column:
    """The value of a column, or null in the rows that withhold it."""
    column, flag = entity.spec.columns[name], entity.spec.withhold.get(name)
    value = F.col(name) if column.type is ColumnType.TEXT else known(column.type, value_of(name))
    return F.when(~is_raised(flag, entity.spec), value) if flag else value


def _read_columns(entity: EntityOf) -> list[str]:
    """The columns of which silver holds what was read, or a part of it."""
    birth = entity.spec.identified_by(Identifier.BIRTH_DATE)
    return [
        name
        for name, column in entity.spec.columns.items()
        if column.type is not ColumnType.TEXT and (name in entity.spec.kept or name == birth)
    ]


def _numbers(entity: EntityOf) -> list[str]:
    """The columns whose numbers somebody may have mistaken for an identifier; what sorts versions is no number of a person."""
    kinds, spec = (ColumnType.INTEGER, ColumnType.DECIMAL), entity.spec
    named = [name for name, column in spec.kept.items() if column.type in kinds]
    return [name for name in named if name not in spec.version]


def _flags(entity: EntityOf, columns: Iterable[str]) -> Column:
    """Names of the columns whose value is there and unreadable. Directions in no closed form are not: they are free text."""
    columns = [name for name in columns if entity.spec.columns[name].type is not ColumnType.DIRECTIONS]
    flags = [F.when(F.col(name).isNotNull() & value_of(name).isNull(), F.lit(name)) for name in columns]
    return F.nullif(F.concat_ws(",", *flags), F.lit("")) if flags else F.lit(None).cast("string")


def silver_rows(bronze: DataFrame, dispositions: DataFrame, entity: EntityOf, pads: Pads) -> DataFrame:
    """One row per valid record, with the columns of `Entity.silver_columns`."""
    current = dispositions.where(F.col("disposition") == "current").select(*LINE, "row_key", "person_id")
    valid = pads.joined_to(trimmed_values(bronze.join(current, on=list(LINE), how="inner"), entity.spec.columns))
    read_of = _read_columns(entity)
    references = entity.spec.references
    messages = [entity.message_of(link.entity, link.columns).alias(f"{_MESSAGE}{name}") for name, link in references.items()]
    values = with_values_read(valid, entity.spec, read_of).select("*", *messages)
    columns = {"row_key": F.col("row_key"), "person_id": F.col("person_id"), "provider_code": F.col("_provider")}
    columns |= {name: row_key(F.col(f"{_MESSAGE}{name}")) for name in references}
    columns |= _subject_parts(entity)
    columns |= {name: _shown(name, entity) for name in entity.spec.kept}
    columns |= {"_flags": _flags(entity, read_of)} | {name: F.col(name) for name in (LOAD, "_file")}
    rows = values.select(*[column.alias(name) for name, column in columns.items()])
    texts = {name: entity.spec.columns[name] for name in entity.spec.kept_texts}
    return without_identifiers(rows, texts, _numbers(entity)).select(*entity.spec.silver_columns)
