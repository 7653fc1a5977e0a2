"""Silver rows: the valid rows of an entity, typed, tied to a person, without anything that identifies."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.keyed import Pads
from pipelines.columns.shapes import without_identifiers
from pipelines.columns.text import is_one_of, postcode_area
from pipelines.columns.values import READERS, date_in
from pipelines.contracts.source import ColumnType, Identifier
from pipelines.curate.entities import EntityOf
from pipelines.curate.records import trimmed_values


def _subject_parts(entity: EntityOf) -> dict[str, Column]:
    parts: dict[str, Column] = {}
    birth = entity.spec.identified_by(Identifier.BIRTH_DATE)
    if birth:
        born = date_in(F.col(birth))
        parts |= {"year_of_birth": F.year(born), "month_of_birth": F.month(born)}
    postcode = entity.spec.identified_by(Identifier.POSTCODE)
    return parts | ({"postcode_area": postcode_area(F.col(postcode))} if postcode else {})


def _shown(name: str, entity: EntityOf) -> Column:
    """The delivered value, or null in the rows that withhold it."""
    flag = entity.spec.withhold.get(name)
    return F.when(~is_one_of(F.col(flag.column), flag.values), F.col(name)) if flag else F.col(name)


def _flags(entity: EntityOf) -> Column:
    """Names of the optional columns whose value is there and cannot be read as its type."""
    flags = []
    for name, column in entity.spec.columns.items():
        if column.identifier is None and not column.required and column.type is not ColumnType.TEXT:
            value = F.col(name)
            flags.append(F.when(value.isNotNull() & READERS[column.type](value).isNull(), F.lit(name)))
    return F.nullif(F.concat_ws(",", *flags), F.lit("")) if flags else F.lit(None).cast("string")


def silver_rows(bronze: DataFrame, dispositions: DataFrame, entity: EntityOf, pads: Pads) -> DataFrame:
    """One row per valid record, with the columns of `Entity.silver_columns`."""
    current = dispositions.where(F.col("disposition") == "current").select("_file", "_line", "row_key", "person_id")
    valid = pads.joined_to(trimmed_values(bronze.join(current, on=["_file", "_line"], how="inner"), entity.spec.columns))
    columns = {"row_key": F.col("row_key"), "person_id": F.col("person_id"), "provider_code": F.col("_provider")}
    columns |= {name: entity.key_of(link.entity, link.columns) for name, link in entity.spec.references.items()}
    columns |= _subject_parts(entity)
    columns |= {
        name: READERS[column.type](_shown(name, entity))
        for name, column in entity.spec.columns.items()
        if column.identifier is None
    }
    columns |= {"_flags": _flags(entity)} | {name: F.col(name) for name in ("_load_id", "_file", "_line")}
    rows = valid.select(*[column.alias(name) for name, column in columns.items()])
    return without_identifiers(rows, entity.spec.kept_texts).select(*entity.spec.silver_columns)
