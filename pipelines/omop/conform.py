"""OMOP tables as published: the columns, types and lengths of the CDM, filled from named columns."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true
from pipelines.contracts.cdm import CdmTable, delta_schema

_CONTROL_CHARACTERS = "[\\x00-\\x1f\\x7f\u0085\u2028\u2029]+"
"""Line breaks, tabs and whatever else has no place in a code or name of one line."""


def conform(frame: DataFrame, values: Mapping[str, Column], table: CdmTable) -> DataFrame:
    """The columns of the Delta table in its order and types: `values`, and null where there is none.

    Texts are cut to the length of the CDM; the full value is in silver. Source values have a blank for line breaks and other
    control characters, and none at their end where they are cut.
    """
    lengths = {column.name: column.length for column in table.columns if column.type == "string" and column.length}
    columns = []
    for name, kind in delta_schema(table).items():
        column = values[name].cast(kind) if name in values else F.lit(None).cast(kind)
        if name in values and name in lengths:
            is_source = name.endswith("_source_value")
            line = F.regexp_replace(column, _CONTROL_CHARACTERS, " ") if is_source else column
            cut = F.substring(line, 1, lengths[name])
            column = F.trim(cut) if is_source else cut
        columns.append(column.alias(name))
    return frame.select(*columns)


def priority(sources: Sequence[str]) -> Column:
    """The place of a row's source in an order of preference; sources that are not named come last."""
    places = [(F.col("_source") == source, F.lit(place)) for place, source in enumerate(sources)]
    return first_true(places, F.lit(len(sources)))


def empty_table(session: SparkSession, table: CdmTable) -> DataFrame:
    """A table of the CDM without rows."""
    return session.createDataFrame([], ", ".join(f"{name} {kind}" for name, kind in delta_schema(table).items()))
