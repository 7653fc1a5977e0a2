"""The map stage's part of the ledger: what each rule was shown, kept and left out, and the OMOP rows that came of it."""

from collections.abc import Iterable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import rows_of_group, union_all
from pipelines.mapping.counts import COUNTS_SCHEMA, DEDUPLICATED
from pipelines.omop.codes import LOCAL_ORIGIN

MAP_LEDGER_SCHEMA = {
    "stage": "string",
    "source": "string",
    "entity": "string",
    "rule": "string",
    "disposition": "string",
    "reason": "string",
    "rows": "bigint",
}
"""One row per rule, disposition and reason; `stage` is map or code. A run id makes them rows of the ledger."""

LEFT_OUT_SCHEMA = COUNTS_SCHEMA | {"disposition": "string"}
"""Mapped rows by rule and reason: `excluded` from OMOP, or `flagged` and published.

As `fanned_out` stand, below zero, the rows that routes would have added to excluded events.
"""

WRITTEN_SCHEMA = {"source": "string", "rule": "string", "reason": "string", "rows": "bigint"}
"""OMOP rows by rule; `reason` is the table."""

_RULE = ("source", "entity", "rule")


def written_rows(tables: Mapping[str, DataFrame]) -> DataFrame:
    """OMOP rows by rule and table (WRITTEN_SCHEMA).

    `tables` are stored frames with `_source` and `_rule`; rows without a rule were concluded, not mapped, and do not count.
    """
    frames = []
    for name, frame in tables.items():
        ruled = frame.where(F.col("_rule").isNotNull())
        counted = ruled.groupBy("_source", "_rule").agg(rows_of_group().alias("rows"))
        columns = (F.col("_source").alias("source"), F.col("_rule").alias("rule"), F.lit(name).alias("reason"), F.col("rows"))
        frames.append(counted.select(*columns))
    return union_all(frames)


def map_ledger(
    counts: DataFrame, left_out_later: DataFrame, routes: DataFrame, written: DataFrame, events: Iterable[str]
) -> DataFrame:
    """The ledger of the map stage (MAP_LEDGER_SCHEMA).

    `counts` are the silver rows of each rule by reason; `left_out_later` (LEFT_OUT_SCHEMA) those that were mapped and then
    left out (their person or visit is not in the CDM, they cannot be) or flagged; `events` the names of the rules for events.
    What routes add is `fanned_out` for events. Rows of other targets may become part of another row (`merged`). Of events only
    those are `merged` that were counted as such in silver, so an event that is lost leaves the ledger out of balance.
    """
    event_rules = tuple(events)
    is_event = F.col("rule").isin(*event_rules) if event_rules else F.lit(False)
    later = left_out_later.where(F.col("disposition") == "excluded").select(*_RULE, "reason", "rows")
    flagged = left_out_later.where(F.col("disposition") == "flagged")
    excluded = counts.where(~F.col("reason").isin("", DEDUPLICATED)).unionByName(later)
    kept = counts.where(F.col("reason").isin("", DEDUPLICATED)).select(*_RULE, "rows")
    deduplicated = counts.where(F.col("reason") == DEDUPLICATED).select(*_RULE, "rows")
    taken_back = later.select(*_RULE, (-F.col("rows")).alias("rows"))
    mapped = _total(kept.unionByName(taken_back))
    entities = counts.select(*_RULE).distinct()
    outcome = written.join(entities, on=["source", "rule"], how="inner")
    sums = mapped.join(_total(outcome).withColumnRenamed("rows", "_written"), on=list(_RULE), how="left")
    merged = sums.where(~is_event).select(*_RULE, (F.col("rows") - F.coalesce(F.col("_written"), F.lit(0))).alias("rows"))
    events_in = routes.groupBy(*_RULE, "vocabulary", "code", "concept_id", "rows").agg(rows_of_group().alias("_targets"))
    added = events_in.select(*_RULE, (F.col("rows") * (F.col("_targets") - 1)).alias("rows"))
    never_added = left_out_later.where(F.col("disposition") == "fanned_out").select(*_RULE, "rows")
    fanned = _total(added.unionByName(never_added))
    return union_all(
        [
            _entries(_total(counts), "silver"),
            _entries(mapped, "mapped"),
            _entries(excluded, "excluded", F.col("reason")),
            _entries(flagged, "flagged", F.col("reason")),
            _entries(fanned.where(F.col("rows") > 0), "fanned_out"),
            _entries(merged.where(F.col("rows") != 0).unionByName(deduplicated), "merged"),
            _entries(outcome, "written", F.col("reason")),
        ]
    )


def code_ledger(routes: DataFrame) -> DataFrame:
    """How many coded events have a standard concept, by rule (MAP_LEDGER_SCHEMA, stage `code`).

    What is neither standard nor settled by a local map is in the work list: its rows add up to the same.
    """
    coded = routes.where(F.col("code").isNotNull())
    by_code = coded.groupBy(*_RULE, "vocabulary", "code", "rows").agg(
        F.max("target_concept_id").alias("_target"),
        F.max("source_concept_id").alias("_source_concept"),
        F.max(F.when(F.col("map_origin") == LOCAL_ORIGIN, F.lit(1)).otherwise(F.lit(0))).alias("_local"),
    )
    outcome = (
        F.when(F.col("_target") > 0, F.lit("standard"))
        .when(F.col("_local") == 1, F.lit("mapped_to_no_concept"))
        .when(F.col("_source_concept") > 0, F.lit("known_unmapped"))
        .otherwise(F.lit("unknown"))
    )
    parts = by_code.withColumn("_disposition", outcome)
    shares = parts.groupBy(*_RULE, "_disposition").agg(F.sum("rows").alias("rows"))
    return union_all(
        [
            _entries(_total(parts), "coded", stage="code"),
            _entries(shares, F.col("_disposition"), stage="code"),
        ]
    )


def _total(frame: DataFrame) -> DataFrame:
    return frame.groupBy(*_RULE).agg(F.sum("rows").alias("rows"))


def _entries(frame: DataFrame, disposition: str | Column, reason: Column | None = None, stage: str = "map") -> DataFrame:
    columns = {
        "stage": F.lit(stage),
        "disposition": F.lit(disposition) if isinstance(disposition, str) else disposition,
        "reason": F.lit("") if reason is None else reason,
    }
    return frame.select(*[columns.get(n, F.col(n)).cast(kind).alias(n) for n, kind in MAP_LEDGER_SCHEMA.items()])
