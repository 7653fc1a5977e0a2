"""Source codes to standard concepts.

An approved local map comes before the vocabulary, the code itself before a less specific one. Only valid standard concepts
are targets: a replaced concept is followed to what replaced it. A code that the vocabulary knows but maps to nothing keeps
its source concept.
"""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from vocab.codes import lookup_forms

CONCEPT_MAP_SCHEMA = {
    "source_vocabulary_id": "string",
    "source_code": "string",
    "ordinal": "int",
    "source_concept_id": "bigint",
    "target_concept_id": "bigint",
    "target_domain_id": "string",
    "target_vocabulary_id": "string",
    "value_as_concept_id": "bigint",
    "map_origin": "string",
}
"""Columns of the concept map."""

LOCAL, ATHENA, NONE = "local", "athena", "none"
FALLBACK = "fallback"

MAPS_TO, MAPS_TO_VALUE, REPLACED_BY = "Maps to", "Maps to value", "Concept replaced by"
FOLLOWED = (MAPS_TO, MAPS_TO_VALUE, REPLACED_BY)

REPLACEMENTS_FOLLOWED = 3
"""How many times a concept may have been replaced; Athena itself keeps `Maps to` of old concepts up to date."""

VALUE_DOMAINS = ("Observation", "Measurement")
"""Targets that can carry a value concept."""

_CODE = ("source_vocabulary_id", "source_code")


def resolve_codes(codes: DataFrame, concepts: DataFrame, relationships: DataFrame, local_maps: DataFrame) -> DataFrame:
    """One row per code and target (CONCEPT_MAP_SCHEMA), targets counted from 0 in `ordinal` by their id.

    `codes` has source_vocabulary_id and source_code, as delivered or normalised, and may repeat; a missing part drops the
    row. `concepts` and `relationships` are CONCEPT and CONCEPT_RELATIONSHIP, `local_maps` that of `approved_maps`.
    A code without a target gives one row with target 0. `source_concept_id` is 0 for an unknown code; with a fallback it
    is the concept of the less specific code. `map_origin` is local, athena, fallback1, fallback2 or none. Codes are
    few beside the vocabulary, so they are the side that is broadcast.
    """
    wanted = codes.select(*_CODE).where(F.col("source_vocabulary_id").isNotNull() & F.col("source_code").isNotNull())
    wanted = wanted.distinct()
    lookups = _lookups(wanted)
    found = _source_concepts(lookups, concepts)
    targets = _athena_targets(found, concepts, relationships)
    chosen = _best(_local_answers(lookups, local_maps, concepts, found), _athena_answers(found, targets))
    return _completed(wanted, chosen)


def _lookups(wanted: DataFrame) -> DataFrame:
    """One row per code and form to look up: step 0 is the code itself, later steps are less specific."""
    forms = lookup_forms(F.col("source_vocabulary_id"), F.col("source_code"))
    steps = [wanted.select(*_CODE, F.lit(step).alias("step"), form.alias("form")) for step, form in enumerate(forms)]
    return reduce(DataFrame.unionByName, steps).where(F.col("form").isNotNull())


def _source_concepts(lookups: DataFrame, concepts: DataFrame) -> DataFrame:
    """One row per lookup whose form is a concept of its vocabulary: the valid one, if the code was reused."""
    named = concepts.select(
        F.col("concept_id").alias("source_concept_id"),
        F.col("vocabulary_id").alias("concept_vocabulary_id"),
        "concept_code",
        F.col("invalid_reason").alias("source_invalid_reason"),
    )
    same = (F.col("concept_vocabulary_id") == F.col("source_vocabulary_id")) & (F.col("concept_code") == F.col("form"))
    hits = named.join(F.broadcast(lookups), on=same, how="inner")
    valid_first = Window.partitionBy(*_CODE, "step").orderBy(
        F.col("source_invalid_reason").isNotNull().cast("int"), "source_concept_id"
    )
    ranked = hits.withColumn("place", F.row_number().over(valid_first)).where(F.col("place") == 1)
    return ranked.select(*_CODE, "step", "source_concept_id")


def _standard(concepts: DataFrame) -> DataFrame:
    """Concepts that may be a target, by id."""
    return concepts.where((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).select(
        F.col("concept_id").alias("target_concept_id"),
        F.col("domain_id").alias("target_domain_id"),
        F.col("vocabulary_id").alias("target_vocabulary_id"),
    )


def _edges(relationships: DataFrame, kind: str, start: str, end: str) -> DataFrame:
    valid = (F.col("relationship_id") == kind) & F.col("invalid_reason").isNull()
    return relationships.where(valid).select(F.col("concept_id_1").alias(start), F.col("concept_id_2").alias(end))


def _athena_targets(found: DataFrame, concepts: DataFrame, relationships: DataFrame) -> DataFrame:
    """One row per source concept and target; a concept whose maps lead nowhere is followed through its replacements."""
    standard = _standard(concepts)
    reached = found.select("source_concept_id", F.col("source_concept_id").alias("at")).distinct()
    levels = []
    for level in range(REPLACEMENTS_FOLLOWED + 1):
        # Narrow joins against the whole vocabulary: what was reached is small and is the side that is broadcast.
        mapped = _edges(relationships, MAPS_TO, "at", "target_concept_id").join(F.broadcast(reached), on="at", how="inner")
        ends = standard.join(F.broadcast(mapped), on="target_concept_id", how="inner")
        levels.append(
            ends.select("source_concept_id", "at", "target_concept_id", "target_domain_id", "target_vocabulary_id").withColumn(
                "level", F.lit(level)
            )
        )
        replaced = _edges(relationships, REPLACED_BY, "at", "next").join(F.broadcast(reached), on="at", how="inner")
        moved = mapped.select("source_concept_id", F.col("target_concept_id").alias("next"))
        reached = (
            replaced.select("source_concept_id", "next")
            .unionByName(moved)
            .select("source_concept_id", F.col("next").alias("at"))
            .distinct()
        )
    ends = reduce(DataFrame.unionByName, levels)
    nearest = Window.partitionBy("source_concept_id")
    ends = ends.withColumn("nearest", F.min("level").over(nearest)).where(F.col("level") == F.col("nearest"))
    return _with_values(ends, standard, relationships)


def _with_values(ends: DataFrame, standard: DataFrame, relationships: DataFrame) -> DataFrame:
    """The value concept of `Maps to value`, for targets that can carry one."""
    values = _edges(relationships, MAPS_TO_VALUE, "at", "value_as_concept_id").join(
        F.broadcast(ends.select("at").distinct()), on="at", how="inner"
    )
    usable = standard.select(F.col("target_concept_id").alias("value_as_concept_id"))
    values = usable.join(F.broadcast(values), on="value_as_concept_id", how="inner")
    carries = F.when(F.col("target_domain_id").isin(*VALUE_DOMAINS), F.col("at")).alias("value_at")
    valued = ends.select("*", carries).join(
        F.broadcast(values.select(F.col("at").alias("value_at"), "value_as_concept_id")), on="value_at", how="left"
    )
    columns = ("source_concept_id", "target_concept_id", "target_domain_id", "target_vocabulary_id", "value_as_concept_id")
    return valued.select(*columns).distinct()


def _athena_answers(found: DataFrame, targets: DataFrame) -> DataFrame:
    """Answers of the vocabulary. The code itself counts even unmapped, a less specific one only if it leads to a target."""
    answers = found.join(F.broadcast(targets), on="source_concept_id", how="left")
    answers = answers.where((F.col("step") == 0) | F.col("target_concept_id").isNotNull())
    origin = F.when(F.col("step") == 0, F.lit(ATHENA)).otherwise(F.concat(F.lit(FALLBACK), F.col("step").cast("string")))
    return answers.select(
        *_CODE,
        _rank(order=1).alias("rank"),
        "source_concept_id",
        F.coalesce(F.col("target_concept_id"), F.lit(0)).cast("bigint").alias("target_concept_id"),
        "target_domain_id",
        "target_vocabulary_id",
        F.col("value_as_concept_id").cast("bigint").alias("value_as_concept_id"),
        F.when(F.col("target_concept_id").isNull(), F.lit(NONE)).otherwise(origin).alias("map_origin"),
    )


def _local_answers(lookups: DataFrame, local_maps: DataFrame, concepts: DataFrame, found: DataFrame) -> DataFrame:
    """Answers of the approved local maps. The source concept is that of the map, else what the vocabulary has for the code."""
    maps = local_maps.select(
        "source_vocabulary_id",
        F.col("source_code").alias("form"),
        F.col("source_concept_id").alias("map_source_concept_id"),
        "target_concept_id",
    )
    hits = lookups.join(F.broadcast(maps), on=["source_vocabulary_id", "form"], how="inner")
    exact = found.where(F.col("step") == 0).select(*_CODE, F.col("source_concept_id").alias("known_concept_id"))
    hits = hits.join(F.broadcast(exact), on=list(_CODE), how="left")
    hits = _standard(concepts).join(F.broadcast(hits), on="target_concept_id", how="right")
    # A target that is no standard concept was refused when the maps were loaded; here it maps to nothing.
    usable = F.col("target_domain_id").isNotNull()
    return hits.select(
        *_CODE,
        _rank(order=0).alias("rank"),
        F.coalesce(F.nullif(F.col("map_source_concept_id"), F.lit(0)), F.col("known_concept_id"), F.lit(0))
        .cast("bigint")
        .alias("source_concept_id"),
        F.when(usable, F.col("target_concept_id")).otherwise(F.lit(0)).cast("bigint").alias("target_concept_id"),
        "target_domain_id",
        "target_vocabulary_id",
        F.lit(None).cast("bigint").alias("value_as_concept_id"),
        F.lit(LOCAL).alias("map_origin"),
    )


def _rank(order: int) -> Column:
    return (F.col("step") * F.lit(2) + F.lit(order)).cast("int")


def _best(local: DataFrame, athena: DataFrame) -> DataFrame:
    """The answers of the best rank of each code."""
    answers = local.unionByName(athena)
    per_code = Window.partitionBy(*_CODE)
    return answers.withColumn("best", F.min("rank").over(per_code)).where(F.col("rank") == F.col("best"))


def _completed(wanted: DataFrame, chosen: DataFrame) -> DataFrame:
    """Every code at least once, its targets numbered by id."""
    answered = wanted.join(chosen, on=list(_CODE), how="left")
    # Keys are unique within the window: one row per target and value concept.
    by_target = Window.partitionBy(*_CODE).orderBy("target_concept_id", "value_as_concept_id")
    defaults = {"source_concept_id": F.lit(0), "target_concept_id": F.lit(0), "map_origin": F.lit(NONE)}
    values = {name: F.coalesce(F.col(name), default) for name, default in defaults.items()}
    values["ordinal"] = F.row_number().over(by_target) - F.lit(1)
    return answered.select(*[values.get(name, F.col(name)).cast(kind).alias(name) for name, kind in CONCEPT_MAP_SCHEMA.items()])
