"""What becomes of every delivered row once its person is known."""

from collections.abc import Iterable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import union_all
from pipelines.contracts.ledger import CONFIDENTIAL, NOT_SHARED
from pipelines.curate.entities import EntityOf
from pipelines.curate.linkage import IDENTITY, identity_columns, is_out_of_range, out_of_range, with_number
from pipelines.curate.versions import marked_rows

DISPOSITION_SCHEMA = {
    "entity": "string",
    "_file": "string",
    "_line": "bigint",
    "row_key": "string",
    "shared_key": "string",
    "person_id": "bigint",
    "effective": "string",
    "is_winner": "boolean",
    "disposition": "string",
    "reason": "string",
}
"""One row per delivered row: where it is, which record and person it belongs to, when it took effect and what became of it."""

OTHER_PERSON = "other_person:"
"""What stands before the name of an entity in the reason of rows that came while their parent record was of somebody else."""

CONFLICT_PREFIX = "identity_conflict:"
"""What stands before the kind of a conflict in the reason of quarantine."""

_RANK = {"current": 0, "opted_out": 1, "test_patient": 2, "deleted_at_source": 3, "quarantined": 4}
"""A row shared by several people is kept while one of them is kept; else it has the first of these dispositions."""


def disposition_rows(
    entities: Iterable[EntityOf],
    versions: DataFrame,
    owners: Mapping[str, DataFrame],
    links: DataFrame,
    people: DataFrame,
    type_one_source: str,
    production: bool,
    sets_conflicts_aside: bool,
    excludes_confidential: bool,
) -> DataFrame:
    """The rows of entities of one source whose owners are decided (DISPOSITION_SCHEMA).

    `versions` are those of the source (VERSION_SCHEMA), `owners` the dispositions of the entities that own rows, by entity;
    an owner that was never delivered is not there. `links` is LINK_SCHEMA, `people` PERSON_SCHEMA. With `sets_conflicts_aside`
    the rows of an identity with a conflict are quarantined; with `excludes_confidential` rows marked as confidential are left
    out.
    """
    frames = []
    for entities_of_kind, build in _by_kind(tuple(entities), owners):
        rows = versions.where(F.col("entity").isin(*[entity.name for entity in entities_of_kind]))
        match build:
            case "direct":
                policy = type_one_source, production, sets_conflicts_aside
                of = entities_of_kind[0]
                agreements = marked_rows(versions, *of.contract.agreements) if of.contract.agreements else None
                frames.append(direct_dispositions(rows, links, people, agreements, of.source, *policy))
            case "reference":
                frames.append(reference_dispositions(rows))
            case "orphan":
                frames.append(orphan_dispositions(rows, str(entities_of_kind[0].owner)))
            case "via":
                owner = str(entities_of_kind[0].owner)
                frames.append(child_dispositions(rows, owners[owner], owner, excludes_confidential))
            case _:
                owner = str(entities_of_kind[0].owner)
                frames.append(shared_dispositions(rows, owners[owner], owner))
    return union_all(frames)


def _by_kind(entities: tuple[EntityOf, ...], owners: Mapping[str, DataFrame]) -> Iterable[tuple[tuple[EntityOf, ...], str]]:
    """Entities whose rows find their person in the same way, with the name of that way."""
    groups: dict[tuple[str, str], list[EntityOf]] = {}
    for entity in entities:
        groups.setdefault(_kind_of(entity, owners), []).append(entity)
    return [(tuple(members), kind) for (kind, _), members in groups.items()]


def _kind_of(entity: EntityOf, owners: Mapping[str, DataFrame]) -> tuple[str, str]:
    subject = entity.spec.subject
    if subject.direct:
        return "direct", ""
    if entity.owner is None:
        return "reference", ""
    if entity.owner not in owners:
        return "orphan", entity.owner
    return ("via" if subject.via else "shared"), entity.owner


def _dispositions(frame: DataFrame, person_id: Column, disposition: Column, reason: Column) -> DataFrame:
    values = {
        "person_id": person_id.cast("bigint"),
        "disposition": F.coalesce("disposition", disposition),
        "reason": F.when(F.col("disposition").isNotNull(), F.col("reason")).otherwise(reason),
    }
    return frame.select(*[values.get(name, F.col(name)).alias(name) for name in DISPOSITION_SCHEMA])


def reference_dispositions(versions: DataFrame) -> DataFrame:
    """Dispositions of rows that are about nobody: code tables, organisations, staff."""
    nobody = F.lit(None)
    return _dispositions(versions, nobody, F.lit("current"), nobody.cast("string"))


def with_person(versions: DataFrame, links: DataFrame, source: str, production: bool) -> DataFrame:
    """Rows that name their person, with `person_id` (null where it names nobody), `_is_wrong` (its number) and `conflict`."""
    numbered = with_number(versions, production)
    kept = [name for name in versions.columns if name not in (*IDENTITY, "nhs_number_status")]
    identified = numbered.select(*kept, is_out_of_range().alias("_is_wrong"), *identity_columns(F.lit(source)))
    return identified.join(links.select(*IDENTITY, "person_id", "conflict"), on=list(IDENTITY), how="left")


def direct_dispositions(
    versions: DataFrame,
    links: DataFrame,
    people: DataFrame,
    ended: DataFrame | None,
    source: str,
    type_one_source: str,
    production: bool,
    sets_conflicts_aside: bool,
) -> DataFrame:
    """Dispositions of rows that name their person. `links`: LINK_SCHEMA; `people`: PERSON_SCHEMA.

    `ended` are the agreements (VERSION_SCHEMA) by which rows are not shared any more; None where the source has none.
    """
    judged = with_person(versions, links, source, production).join(people, on="person_id", how="left")
    opted_out = F.col("opt_out")
    if ended is not None:
        unshared = ended.select(F.col("row_key").alias("parent_key"), F.lit(NOT_SHARED).alias("_unshared")).distinct()
        judged = judged.join(F.broadcast(unshared), on="parent_key", how="left")
        opted_out = F.coalesce("_unshared", opted_out)
    if source == type_one_source:
        opted_out = F.coalesce(opted_out, F.col("type_one"))
    wrong_disposition, wrong_reason = out_of_range(production)
    is_wrong, nobody = F.col("_is_wrong"), F.col("person_id").isNull()
    conflict = F.concat(F.lit(CONFLICT_PREFIX), F.col("conflict")) if sets_conflicts_aside else F.lit(None).cast("string")
    disposition = (
        F.when(is_wrong, F.lit(wrong_disposition))
        .when(nobody, F.lit("quarantined"))
        .when(opted_out.isNotNull(), F.lit("opted_out"))
        .when(conflict.isNotNull(), F.lit("quarantined"))
        .otherwise(F.lit("current"))
    )
    reason = F.when(is_wrong, F.lit(wrong_reason)).when(nobody, F.lit("no_identity")).otherwise(F.coalesce(opted_out, conflict))
    return _dispositions(judged, F.col("person_id"), disposition, reason)


def child_dispositions(
    versions: DataFrame, parent_dispositions: DataFrame, parent: str, excludes_confidential: bool
) -> DataFrame:
    """Dispositions of rows that belong to a parent row.

    They have that of the parent, and without one they are orphans. Providers use the id of a record again for somebody else: a
    row that was delivered no later than the last that named another person is not of the person that the parent has now, and
    is quarantined. With `excludes_confidential` a row that is marked as confidential is left out although its parent is not.
    """
    parents = parent_dispositions.where(F.col("is_winner")).select(
        F.col("row_key").alias("parent_key"),
        F.col("person_id").alias("_parent_person"),
        F.col("disposition").alias("_parent_disposition"),
        F.col("reason").alias("_parent_reason"),
    )
    former = parent_dispositions.where(~F.col("is_winner") & F.col("person_id").isNotNull()).select(
        F.col("row_key").alias("parent_key"), F.col("person_id").alias("_former_person"), F.col("effective").alias("_of_former")
    )
    handed_on = former.join(parents.select("parent_key", "_parent_person"), on="parent_key", how="inner")
    until = (
        handed_on.where(F.col("_former_person") != F.col("_parent_person"))
        .groupBy("parent_key")
        .agg(F.max("_of_former").alias("_of_another_until"))
    )
    joined = versions.join(parents, on="parent_key", how="left").join(F.broadcast(until), on="parent_key", how="left")
    is_anothers = is_true(F.col("effective") <= F.col("_of_another_until"))
    orphaned = F.col("_parent_disposition").isNull()
    is_marked = F.col("is_confidential") & (F.col("_parent_disposition") == "current") & F.lit(excludes_confidential)
    disposition = (
        F.when(is_anothers, F.lit("quarantined"))
        .when(is_marked, F.lit("opted_out"))
        .otherwise(F.coalesce("_parent_disposition", F.lit("quarantined")))
    )
    reason = (
        F.when(orphaned, F.lit(f"orphan:{parent}"))
        .when(is_anothers, F.lit(f"{OTHER_PERSON}{parent}"))
        .when(is_marked, F.lit(CONFIDENTIAL))
        .otherwise(F.col("_parent_reason"))
    )
    return _dispositions(joined, F.when(~is_anothers, F.col("_parent_person")), disposition, reason)


def orphan_dispositions(versions: DataFrame, parent: str) -> DataFrame:
    """Dispositions of rows whose parent table was never delivered."""
    return _dispositions(versions, F.lit(None), F.lit("quarantined"), F.lit(f"orphan:{parent}"))


def shared_dispositions(versions: DataFrame, owners: DataFrame, owner: str) -> DataFrame:
    """Dispositions of rows that several people may share, by the `shared_key` that their owners have too."""
    ranked = owners.where(F.col("is_winner")).select("shared_key", _rank(F.col("disposition")).alias("_rank"))
    best = ranked.where(F.col("_rank").isNotNull()).groupBy("shared_key").agg(F.min("_rank").alias("_rank"))
    joined = versions.join(best, on="shared_key", how="left")
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
