"""How many values of silver were unreadable or withheld, and how many were given, by provider, entity and column."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.ledger import UNREADABLE, WITHHELD, Disposition, LedgerRow, Stage
from pipelines.contracts.source import SUBJECT_COLUMNS, Entity, Identifier
from pipelines.contracts.source import WITHHELD as _WITHHELD_COLUMNS

FLAGGED_SCHEMA = dict.fromkeys(("source", "entity", "provider", "flags", "withheld"), "string") | {"rows": "bigint"}
"""One row per source, entity, provider and combination of unreadable and withheld columns, with its number of silver rows."""

READABLE_SCHEMA = dict.fromkeys(("source", "entity", "provider", "column"), "string") | {"rows": "bigint"}
"""One row per source, entity, provider and column of which any value is unreadable or withheld: how many were read."""

Place = tuple[str, str]
"""A source and an entity."""


def flagged_rows(silver: Mapping[Place, DataFrame]) -> DataFrame:
    """The silver rows with unreadable or withheld values, counted (FLAGGED_SCHEMA)."""
    flagged = [
        frame.where(F.col("_flags").isNotNull() | F.col(_WITHHELD_COLUMNS).isNotNull()).select(
            F.lit(source).alias("source"),
            F.lit(entity).alias("entity"),
            F.col("provider_code").alias("provider"),
            F.col("_flags").alias("flags"),
            F.col(_WITHHELD_COLUMNS).alias("withheld"),
        )
        for (source, entity), frame in silver.items()
    ]
    return union_all(flagged).groupBy("source", "entity", "provider", "flags", "withheld").agg(F.count(F.lit(1)).alias("rows"))


def values_lost(flagged: Iterable[Mapping[str, Any]], how: str) -> Counter[tuple[str, str, str, str]]:
    """The values in the `flags` or `withheld` of records of FLAGGED_SCHEMA, by source, entity, provider and column."""
    values: Counter[tuple[str, str, str, str]] = Counter()
    for record in flagged:
        for column in (record[how] or "").split(","):
            if column:
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


def value_ledger(run_id: str, flagged: Iterable[Mapping[str, Any]], readable: Iterable[Mapping[str, Any]]) -> list[LedgerRow]:
    """Of each provider and column of which any value is unreadable or withheld those given, read, unreadable and withheld."""
    flagged = tuple(flagged)
    unreadable, withheld = values_lost(flagged, "flags"), values_lost(flagged, "withheld")
    read = {(row["source"], row["entity"], row["provider"], row["column"]): row["rows"] for row in readable}
    rows = []
    for place in sorted({*unreadable, *withheld}):
        source, entity, provider, column = place
        outcomes = {
            Disposition.GIVEN: (read[place] + unreadable[place] + withheld[place], column),
            Disposition.READ: (read[place], column),
            Disposition.UNREADABLE: (unreadable[place], f"{UNREADABLE}{column}"),
            Disposition.WITHHELD: (withheld[place], f"{WITHHELD}{column}"),
        }
        rows += [
            LedgerRow(run_id, Stage.READ, source, entity, outcome, values, reason=reason, provider=provider)
            for outcome, (values, reason) in outcomes.items()
            if values or outcome in (Disposition.GIVEN, Disposition.READ)
        ]
    return rows
