"""What becomes of every delivered row once its person is known."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.text import trimmed
from pipelines.curate.linkage import IDENTITY, identity_columns, out_of_range
from pipelines.curate.versions import DISPOSITION_SCHEMA

_RANK = {"current": 0, "opted_out": 1, "test_patient": 2, "deleted_at_source": 3, "quarantined": 4}
"""A row shared by several people is kept while one of them is kept; else it goes the way of the first of these."""


def _dispositions(frame: DataFrame, person_id: Column, disposition: Column, reason: Column) -> DataFrame:
    return frame.select(
        "_load_id",
        "_file",
        "_line",
        "row_key",
        person_id.cast("bigint").alias("person_id"),
        "is_winner",
        F.coalesce("disposition", disposition).alias("disposition"),
        F.when(F.col("disposition").isNotNull(), F.col("reason")).otherwise(reason).alias("reason"),
    ).select(*DISPOSITION_SCHEMA)


def reference_dispositions(versions: DataFrame) -> DataFrame:
    """Fates of rows that are about nobody: code tables, organisations, staff."""
    nobody = F.lit(None)
    return _dispositions(versions, nobody, F.lit("current"), nobody.cast("string"))


def direct_dispositions(
    versions: DataFrame, links: DataFrame, people: DataFrame, source: str, type_one_source: str, production: bool
) -> DataFrame:
    """Fates of rows that name their person. `links`: LINK_SCHEMA; `people`: PERSON_SCHEMA."""
    wrong = out_of_range(F.col("_stated_number"), production)
    renamed = versions.withColumnRenamed("nhs_number", "_stated_number").withColumn("_wrong", wrong)
    identified = renamed.withColumn("nhs_number", F.col("_stated_number")).select(
        *[name for name in renamed.columns if name not in (*IDENTITY, "nhs_number_status")],
        *identity_columns(source, production),
    )
    known = identified.join(links.select(*IDENTITY, "person_id"), on=list(IDENTITY), how="left")
    judged = known.join(people, on="person_id", how="left")
    opted_out = F.coalesce(F.col("opt_out"), F.when(F.lit(source == type_one_source) & F.col("type_one"), F.lit("type_one")))
    nobody = F.col("person_id").isNull()
    disposition = (
        F.when(F.col("_wrong").isNotNull(), F.col("_wrong.disposition"))
        .when(nobody, F.lit("quarantined"))
        .when(opted_out.isNotNull(), F.lit("opted_out"))
        .otherwise(F.lit("current"))
    )
    reason = F.when(F.col("_wrong").isNotNull(), F.col("_wrong.reason")).when(nobody, F.lit("no_identity")).otherwise(opted_out)
    return _dispositions(judged, F.col("person_id"), disposition, reason)


def child_dispositions(versions: DataFrame, parent_dispositions: DataFrame, parent: str) -> DataFrame:
    """Fates of rows that belong to a parent row: they go the way of the parent, and without one they are orphans."""
    parents = parent_dispositions.where(F.col("is_winner")).select(
        F.col("row_key").alias("parent_key"),
        F.col("person_id").alias("_parent_person"),
        F.col("disposition").alias("_parent_disposition"),
        F.col("reason").alias("_parent_reason"),
    )
    joined = versions.join(parents, on="parent_key", how="left")
    orphaned = F.col("_parent_disposition").isNull()
    disposition = F.coalesce(F.col("_parent_disposition"), F.lit("quarantined"))
    reason = F.when(orphaned, F.lit(f"orphan:{parent}")).otherwise(F.col("_parent_reason"))
    return _dispositions(joined, F.col("_parent_person"), disposition, reason)


def orphan_dispositions(versions: DataFrame, parent: str) -> DataFrame:
    """Fates of rows whose parent table was never delivered."""
    return _dispositions(versions, F.lit(None), F.lit("quarantined"), F.lit(f"orphan:{parent}"))


def shared_dispositions(versions: DataFrame, keys: DataFrame, owners: DataFrame, owner: str) -> DataFrame:
    """Fates of rows that several people may share.

    `keys`: `_file`, `_line` and `_shared_key` of the rows; `owners`: `_shared_key` and `disposition` of the rows that refer
    to them.
    """
    ranked = owners.select("_shared_key", _rank(F.col("disposition")).alias("_rank"))
    best = ranked.where(F.col("_rank").isNotNull()).groupBy("_shared_key").agg(F.min("_rank").alias("_rank"))
    joined = versions.join(keys, on=["_file", "_line"], how="left").join(best, on="_shared_key", how="left")
    owned = F.col("_rank").isNotNull()
    disposition = F.coalesce(_of_rank(F.col("_rank")), F.lit("quarantined"))
    reason = F.when(~owned, F.lit(f"orphan:{owner}")).when(F.col("_rank") > 0, F.lit(f"with_{owner}"))
    return _dispositions(joined, F.lit(None), disposition, reason)


def _rank(disposition: Column) -> Column:
    ranked: Column = F.lit(None).cast("int")
    for name, rank in _RANK.items():
        ranked = F.when(disposition == name, F.lit(rank)).otherwise(ranked)
    return ranked


def _of_rank(rank: Column) -> Column:
    named: Column = F.lit(None).cast("string")
    for name, place in _RANK.items():
        named = F.when(rank == place, F.lit(name)).otherwise(named)
    return named


def shared_key(columns: tuple[str, ...]) -> Column:
    """What a shared row and the rows that refer to it have in common, within a provider."""
    return F.concat_ws("|", F.col("_provider"), *[F.coalesce(trimmed(F.col(column)), F.lit("")) for column in columns])
