"""What a changed vocabulary or local map concerns: codes, and the targets, tables and buckets that hold them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.columns.frames import union_all
from pipelines.contracts.cdm import CODE_BUCKET
from pipelines.mapping.spec import Rule, Target
from pipelines.omop.codes import CODE_MAP_SCHEMA, code_bucket, routes
from pipelines.omop.events import CONCEPT_FIELDS

CHANGED_CODES_SCHEMA = {"source_vocabulary_id": "string", "source_code": "string", "has_other_number": "boolean"}
"""One row per code that means something else than before. `has_other_number`: it has more or fewer targets."""

_CODE = ("source_vocabulary_id", "source_code")
_WAY = ("rule", "vocabulary", "code", "ordinal", "table")


@dataclass(frozen=True)
class Concerned:
    """What has to be built again: targets other than events, event tables, and in these the buckets; None stands for all.

    `has_other_events`: some code gives its events more or fewer targets, so that there are other event rows than before.
    `moves_events`: some code does, or sends its events to another table, so that what refers to events has to follow.
    """

    targets: frozenset[Target]
    tables: frozenset[str]
    buckets: tuple[int, ...] | None
    has_other_events: bool
    moves_events: bool


def differences(former: DataFrame, now: DataFrame, schema: Iterable[str]) -> DataFrame:
    """The rows that only one of two frames has, or has more often; `_more` counts them, below zero for those of `former`."""
    names = list(schema)
    tagged = former.select(*names, F.lit(-1).alias("_sign")).unionByName(now.select(*names, F.lit(1).alias("_sign")))
    return tagged.groupBy(*names).agg(F.sum("_sign").alias("_more")).where(F.col("_more") != 0)


def changed_codes(former: DataFrame, now: DataFrame) -> DataFrame:
    """The codes that two code maps (CODE_MAP_SCHEMA) of the same codes in use resolve differently (CHANGED_CODES_SCHEMA)."""
    differing = differences(former, now, CODE_MAP_SCHEMA)
    return differing.groupBy(*_CODE).agg((F.sum("_more") != 0).alias("has_other_number"))


def concerned(
    changed: DataFrame, codes: DataFrame, maps: tuple[DataFrame, DataFrame], stem: DataFrame, rules: Iterable[Rule]
) -> Concerned:
    """What holds a changed code. `codes` are those in use, `maps` what they meant and mean.

    The fields, tables and buckets themselves are few and come to the driver.
    """
    touched = of_changed(codes, changed)
    own = touched.where((F.col("target") == Target.EVENT.value) & (F.col("field") == "concept"))
    fields = {(Target(row["target"]), row["field"]) for row in _rows(touched.select("target", "field").distinct())}
    others = sorted(field for target, field in fields if target is Target.EVENT and field != "concept")
    buckets = own.select(code_bucket(F.col("vocabulary"), F.col("code"), F.col("concept_id")).alias(CODE_BUCKET))
    if others:
        buckets = buckets.unionByName(_buckets_with(stem, changed, others))
    rules = tuple(rules)
    former, now = (routes(own, one, rules).select(*_WAY) for one in maps)
    ways = former.unionByName(now).select("table")
    renumbered = of_changed(own, changed.where(F.col("has_other_number")))
    return Concerned(
        targets=frozenset(target for target, _ in fields if target is not Target.EVENT),
        tables=frozenset(row["table"] for row in _rows(ways.distinct())) | _tables_with(others),
        buckets=tuple(sorted(row[CODE_BUCKET] for row in _rows(buckets.distinct()))),
        has_other_events=not renumbered.isEmpty(),
        moves_events=not differences(former, now, _WAY).isEmpty(),
    )


def changed_targets(changed: DataFrame, maps: Iterable[DataFrame]) -> DataFrame:
    """`concept_id` of everything that changed codes meant or mean; `maps` are the code maps before and now."""
    meant = [one.join(F.broadcast(changed.select(*_CODE)), on=list(_CODE), how="left_semi") for one in maps]
    return union_all([one.select(F.col("target_concept_id").alias("concept_id")) for one in meant]).distinct()


def of_changed(codes: DataFrame, changed: DataFrame) -> DataFrame:
    """The rows of `codes` whose `vocabulary` and `code` have changed."""
    return codes.join(F.broadcast(_names(changed)), on=["vocabulary", "code"], how="left_semi")


def of_unchanged(codes: DataFrame, changed: DataFrame) -> DataFrame:
    """The other rows of `codes`."""
    return codes.join(F.broadcast(_names(changed)), on=["vocabulary", "code"], how="left_anti")


def _names(changed: DataFrame) -> DataFrame:
    return changed.select(*[F.col(name).alias(short) for name, short in zip(_CODE, ("vocabulary", "code"), strict=True)])


def _buckets_with(stem: DataFrame, changed: DataFrame, fields: Iterable[str]) -> DataFrame:
    """The buckets of events that hold a changed code in one of these fields."""
    frames = []
    for field in fields:
        named = stem.select(CODE_BUCKET, F.col(f"{field}_vocabulary").alias("vocabulary"), F.col(f"{field}_code").alias("code"))
        frames.append(of_changed(named.distinct(), changed).select(CODE_BUCKET))
    return union_all(frames)


def _tables_with(fields: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(fields)
    return frozenset(table for table, held in CONCEPT_FIELDS.items() if wanted & frozenset(held))


def _rows(frame: DataFrame) -> list[dict[str, Any]]:
    return frame.toArrow().to_pylist()
