"""The figures of a release that the next one is compared with: rows, people, months, mapping and means; no row of anybody.

One table of the graph has them as they are now; those of every run are kept beside it.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.contracts.cdm import EVENT_TABLES, CdmTable
from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.quality.checks import DESCRIPTIVE

FIGURE_SCHEMA: Final = {
    "figure": "string",
    "table": "string",
    "source": "string",
    "item": "string",
    "rows": "bigint",
    "part": "bigint",
    "mean": "double",
    "spread": "double",
}
"""One row per figure, table, source and item; `table`, `source` and `item` are empty where a figure has none.

`part` is how many of `rows` are meant where a figure is a share. `mean` and `spread` (standard deviation) have six places.
"""

FIGURES: Final = TableName(Zone.LEDGER, "gate_measures_figures")
"""The figures as they are now."""

FIGURES_OF_RUNS: Final = TableName(Zone.LEDGER, "figures")
"""The figures of every run."""

ROUTES: Final = TableName(Zone.INTERMEDIATE, "routes")
"""Where the rows of each code go, with the code's vocabulary; made by the map stage."""

MOST_MEANS: Final = 100
"""Of how many concepts and units, the commonest, the mean is kept."""


_MILLION: Final = 1e6


class FigureKind(StrEnum):
    """What a figure says."""

    ROWS = "rows"
    """Rows of a table that has no source or no day."""
    MONTH = "month"
    """Rows of a source in a table by month of their day (`item`, yyyy-mm, empty where there is no day)."""
    PEOPLE = "people"
    """People with a row in a table."""
    MAPPED = "mapped"
    """Rows of a source whose code is of a vocabulary (`item`), and how many of them have a standard concept (`part`)."""
    VALUE = "value"
    """Values of a measurement (`item`: concept/unit concept) and their mean."""
    STAY = "stay"
    """Visits of a kind (`item`: visit concept) with an end, and their mean length in days."""


def figures_table(checked: Collection[TableName], cdm: Mapping[str, CdmTable], *, with_routes: bool) -> Table:
    """The figures of the tables that a run publishes, without vocabularies and what the database says about itself."""
    there = [table for name, table in cdm.items() if TableName(Zone.OMOP, name) in checked and not table.is_vocabulary]
    tables = [table for table in there if table.name not in DESCRIPTIVE]
    inputs = tuple(TableName(Zone.OMOP, table.name) for table in tables)

    def make(made: Inputs) -> DataFrame:
        frames = {table.name: made.read(Zone.OMOP, table.name) for table in tables}
        parts = [_rows(frames[table.name], table) for table in tables]
        parts += [_people(frames[table.name], table.name) for table in tables if "person_id" in table.schema]
        if "measurement" in frames:
            parts.append(_values(frames["measurement"]))
        if "visit_occurrence" in frames:
            parts.append(_stays(frames["visit_occurrence"]))
        if with_routes:
            parts.append(_mapped(made.read(*ROUTES)))
        return union_all(parts)

    return Table(
        name=FIGURES,
        grain="one row per figure of the tables as they are, by table, source and item",
        schema=FIGURE_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=make,
        inputs=(*inputs, ROUTES) if with_routes else inputs,
    )


def figures_of_run(run_id: str) -> Table:
    """The figures of all runs, of which those of one run are made."""
    schema = {"run_id": "string", **FIGURE_SCHEMA}
    return Table(
        name=FIGURES_OF_RUNS,
        grain="one row per run and figure, by table, source and item",
        schema=schema,
        belongs_to=BelongsTo.WHOLE,
        make=lambda made: made.read(*FIGURES).select(F.lit(run_id).alias("run_id"), *FIGURE_SCHEMA),
        inputs=(FIGURES,),
        parameters=run_id,
        partition_by=("run_id",),
        replaces=Partitions("run_id", (run_id,)),
    )


def day_of(table: CdmTable) -> str:
    """The column with the day of the rows of an event table."""
    return next(name for name, kind in table.schema.items() if kind == "date")


def _rows(frame: DataFrame, table: CdmTable) -> DataFrame:
    if table.name not in EVENT_TABLES:
        return _figures(frame.agg(F.count(F.lit(1)).alias("rows")), FigureKind.ROWS, table.name)
    month = F.date_format(F.col(day_of(table)), "yyyy-MM")
    counted = frame.select(F.col("_source").alias("source"), month.alias("item")).groupBy("source", "item")
    return _figures(counted.agg(rows_of_group().alias("rows")), FigureKind.MONTH, table.name, "source", "item")


def _people(frame: DataFrame, name: str) -> DataFrame:
    return _figures(frame.agg(F.count_distinct("person_id").alias("rows")), FigureKind.PEOPLE, name)


def _values(measurements: DataFrame) -> DataFrame:
    """The commonest measurements with a value, by concept and unit."""
    concept, unit = F.col("measurement_concept_id"), F.coalesce(F.col("unit_concept_id"), F.lit(0))
    item = F.concat_ws("/", concept.cast("string"), unit.cast("string"))
    valued = measurements.where(F.col("value_as_number").isNotNull() & (concept != 0))
    values = valued.select(item.alias("item"), F.col("value_as_number").cast("double").alias("value"))
    counted = values.groupBy("item").agg(rows_of_group().alias("rows"), *_mean("value"))
    commonest = counted.orderBy(F.desc("rows"), "item").limit(MOST_MEANS)
    return _figures(commonest, FigureKind.VALUE, "measurement", "item", "mean", "spread")


def _stays(visits: DataFrame) -> DataFrame:
    """The mean length of each kind of visit in days: 0 where it ends on the day on which it began."""
    days = F.datediff("visit_end_date", "visit_start_date").cast("double")
    stays = visits.select(F.col("visit_concept_id").cast("string").alias("item"), days.alias("days"))
    counted = stays.where(F.col("days").isNotNull()).groupBy("item").agg(rows_of_group().alias("rows"), *_mean("days"))
    return _figures(counted, FigureKind.STAY, "visit_occurrence", "item", "mean", "spread")


def _mapped(routes: DataFrame) -> DataFrame:
    """One row per source and vocabulary; a code with several targets counts its rows once."""
    keys = ("source", "entity", "rule", "vocabulary", "code", "rows")
    codes = routes.where(F.col("code").isNotNull()).groupBy(*keys).agg(F.max("target_concept_id").alias("target"))
    mapped = F.sum(F.when(F.col("target") > 0, F.col("rows")).otherwise(F.lit(0)))
    counted = codes.groupBy("source", "vocabulary").agg(F.sum("rows").alias("all_rows"), mapped.alias("part"))
    named = counted.select("source", F.col("vocabulary").alias("item"), F.col("all_rows").alias("rows"), "part")
    return _figures(named, FigureKind.MAPPED, "", "source", "item", "part")


def _mean(name: str) -> tuple[Column, Column]:
    """The mean is of whole millionths, which come to the same sum in whatever order an engine adds them.

    A sum of doubles does not, and a mean that lies between two places (250.61 of 160 values) was rounded up or down by chance.
    A value with more than 22 digits before its point is in no mean.
    """
    millionths = F.round(F.col(name) * _MILLION).try_cast("decimal(28,0)")
    mean = F.round(F.sum(millionths).cast("double") / F.count(millionths)) / _MILLION
    return mean.alias("mean"), F.round(F.stddev_pop(name), 6).alias("spread")


def _figures(counted: DataFrame, kind: FigureKind, table: str, *given: str) -> DataFrame:
    """FIGURE_SCHEMA: `given` are the columns that `counted` has beside `rows`."""
    empty = {"source": F.lit(""), "item": F.lit(""), "part": F.lit(None), "mean": F.lit(None), "spread": F.lit(None)}
    columns = {"figure": F.lit(kind.value), "table": F.lit(table), "rows": F.col("rows")}
    columns |= {name: value for name, value in empty.items() if name not in given}
    columns |= {name: F.coalesce(F.col(name), F.lit("")) for name in given if name in ("source", "item")}
    columns |= {name: F.col(name) for name in given if name not in ("source", "item")}
    return counted.select(*[columns[name].cast(kind_of).alias(name) for name, kind_of in FIGURE_SCHEMA.items()])
