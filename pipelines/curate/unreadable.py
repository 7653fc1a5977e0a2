"""How many delivered values of silver could not be read, and how many were given, by provider, entity and column."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.ledger import UNREADABLE, Disposition, LedgerRow, Stage
from pipelines.contracts.source import SUBJECT_COLUMNS, Entity, Identifier

FLAGGED_SCHEMA = dict.fromkeys(("source", "entity", "provider", "flags"), "string") | {"rows": "bigint"}
"""One row per source, entity, provider and combination of unreadable columns, with its number of silver rows."""

READABLE_SCHEMA = dict.fromkeys(("source", "entity", "provider", "column"), "string") | {"rows": "bigint"}
"""One row per source, entity, provider and column of which any value is unreadable: how many were read."""

Place = tuple[str, str]
"""A source and an entity."""


def flagged_rows(silver: Mapping[Place, DataFrame]) -> DataFrame:
    """The silver rows with unreadable values, counted (FLAGGED_SCHEMA)."""
    flagged = [
        frame.where(F.col("_flags").isNotNull()).select(
            F.lit(source).alias("source"), F.lit(entity).alias("entity"), F.col("provider_code").alias("provider"), "_flags"
        )
        for (source, entity), frame in silver.items()
    ]
    counted = union_all(flagged).groupBy("source", "entity", "provider", "_flags").agg(F.count(F.lit(1)).alias("rows"))
    return counted.withColumnRenamed("_flags", "flags")


def unreadable_values(flagged: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str, str, str]]:
    """Unreadable values by source, entity, provider and column, from records of FLAGGED_SCHEMA."""
    values: Counter[tuple[str, str, str, str]] = Counter()
    for record in flagged:
        for column in record["flags"].split(","):
            values[record["source"], record["entity"], record["provider"], column] += record["rows"]
    return values


def readable_values(
    silver: Mapping[Place, DataFrame], specs: Mapping[Place, Entity], columns: Mapping[Place, Iterable[str]]
) -> DataFrame:
    """How many values of some columns were read (READABLE_SCHEMA). A date of birth was read where its year is known."""
    frames = []
    for (source, entity), frame in silver.items():
        named = [
            F.struct(F.lit(column).alias("column"), F.count(_kept_as(column, specs[source, entity])).alias("rows"))
            for column in columns[source, entity]
        ]
        counted = frame.groupBy("provider_code").agg(F.array(*named).alias("counts"))
        by_column = counted.select("provider_code", F.explode("counts").alias("count"))
        frames.append(
            by_column.select(
                F.lit(source).alias("source"),
                F.lit(entity).alias("entity"),
                F.col("provider_code").alias("provider"),
                F.col("count.column").alias("column"),
                F.col("count.rows").alias("rows"),
            )
        )
    return union_all(frames)


def _kept_as(column: str, spec: Entity) -> str:
    return next(iter(SUBJECT_COLUMNS)) if spec.columns[column].identifier is Identifier.BIRTH_DATE else column


def unreadable_ledger(
    run_id: str, unreadable: Mapping[tuple[str, str, str, str], int], readable: Iterable[Mapping[str, Any]]
) -> list[LedgerRow]:
    """The ledger of values: of each provider and column of which any is unreadable those given, read and unreadable."""
    read = {(row["source"], row["entity"], row["provider"], row["column"]): row["rows"] for row in readable}
    rows = []
    for place, count in sorted(unreadable.items()):
        source, entity, provider, column = place
        outcomes = {
            Disposition.GIVEN: (count + read[place], column),
            Disposition.READ: (read[place], column),
            Disposition.UNREADABLE: (count, f"{UNREADABLE}{column}"),
        }
        rows += [
            LedgerRow(run_id, Stage.READ, source, entity, outcome, values, reason=reason, provider=provider)
            for outcome, (values, reason) in outcomes.items()
        ]
    return rows
