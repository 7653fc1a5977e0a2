"""Maps source codes to standard concepts.

An approved local map takes precedence over the vocabulary, and the code itself over a less specific one. Only valid standard
concepts are targets: a replaced concept is followed to its replacement. A code that the vocabulary contains but does not map
keeps its source concept.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from vocab.codes import broader_forms, cdm_code, normal_form, normalise
from vocab.concepts import is_valid_standard

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
OF_ANALYTE = "+analyte"
"""What stands after the origin of a target that was replaced by the standard concept of its analyte."""
NAME = "name"

DRUG_NAME = "Drug Name"
"""The vocabulary whose codes are names of medicines that were delivered without a code."""

NAMED_VOCABULARIES = ("dm+d", "RxNorm Extension", "RxNorm")
"""Where names of medicines are looked for: a name of an earlier vocabulary goes before one of a later."""

MAPS_TO, MAPS_TO_VALUE, REPLACED_BY = "Maps to", "Maps to value", "Concept replaced by"

REPLACEMENTS_FOLLOWED = 3
"""How many replacements in a row are followed."""

VALUE_DOMAINS = ("Observation", "Measurement")
"""Domains of targets that can carry a value concept."""

_CODE = ("source_vocabulary_id", "source_code")
_RANKS_PER_STEP = 4
_LOCAL_RANK, _ATHENA_RANK, _KNOWN_RANK, _LAST_RANK = 0, 1, 2, 1_000
_ANSWER_SCHEMA = {
    "source_vocabulary_id": "string",
    "source_code": "string",
    "rank": "int",
    "source_concept_id": "bigint",
    "target_concept_id": "bigint",
    "target_domain_id": "string",
    "target_vocabulary_id": "string",
    "value_as_concept_id": "bigint",
    "map_origin": "string",
}


def resolve_codes(codes: DataFrame, concepts: DataFrame, relationships: DataFrame, local_maps: DataFrame) -> DataFrame:
    """One row per code and target (CONCEPT_MAP_SCHEMA), targets counted from 0 in `ordinal` by their id.

    `codes` has source_vocabulary_id and source_code, as delivered or normalised, and may contain duplicates; a row that lacks
    either is left out. `concepts` and `relationships` are CONCEPT and CONCEPT_RELATIONSHIP, `local_maps` is the result of
    `approved_maps`. A code without a target gives one row with target 0. `source_concept_id` is 0 for an unknown code;
    with a fallback it is the concept of the less specific code. The codes of DRUG_NAME are names: their concept is the only
    one that has the name. `map_origin` is local, athena, fallback1, fallback2, name or none. There are few codes compared with
    the vocabulary, so the codes are broadcast.
    """
    wanted = codes.where(F.col("source_vocabulary_id").isNotNull() & F.col("source_code").isNotNull())
    wanted = wanted.select(*_CODE).distinct()
    lookups = _lookups(wanted)
    found = _source_concepts(lookups, concepts, local_maps)
    answers = (
        _last_answers(wanted)
        .unionByName(_local_answers(lookups, local_maps, concepts))
        .unionByName(_known_answers(found))
        .unionByName(_athena_answers(found, concepts, relationships))
    )
    return _best(answers)


def _lookups(wanted: DataFrame) -> DataFrame:
    """One row per code and form to search for: step 0 is the code itself, later steps are less specific."""
    vocabulary, normal = F.col("source_vocabulary_id"), F.col("_normal")
    normalised = wanted.withColumn("_normal", normal_form(vocabulary, F.col("source_code")))
    forms = F.array(normal, *broader_forms(vocabulary, normal))
    return normalised.select(*_CODE, F.posexplode(forms).alias("step", "form")).where(F.col("form").isNotNull())


def _source_concepts(lookups: DataFrame, concepts: DataFrame, local_maps: DataFrame) -> DataFrame:
    """One row per lookup whose form is a concept of its vocabulary; if the code was reused, the valid concept.

    The concepts of a local vocabulary have its short id, and codes as the CDM allows them. A name is a concept of the first
    vocabulary that has it, if only one valid concept of that has it.
    """
    short = local_maps.select(
        F.col("source_vocabulary_id").alias("_long"), F.col("cdm_vocabulary_id").alias("_short")
    ).distinct()
    form = F.when(F.col("source_vocabulary_id") == DRUG_NAME, F.col("form")).otherwise(cdm_code(F.col("form")))
    lookups = lookups.join(F.broadcast(short), on=F.col("source_vocabulary_id") == F.col("_long"), how="left").select(
        *_CODE,
        "step",
        form.alias("_form"),
        F.coalesce("_short", "source_vocabulary_id").alias("_vocabulary"),
    )
    coded = concepts.select(
        F.col("concept_id").alias("source_concept_id"),
        F.col("vocabulary_id").alias("concept_vocabulary_id"),
        "concept_code",
        F.col("invalid_reason").isNotNull().cast("int").alias("rank"),
    )
    same = (F.col("concept_vocabulary_id") == F.col("_vocabulary")) & (F.col("concept_code") == F.col("_form"))
    hits = coded.unionByName(_drug_names(concepts)).join(F.broadcast(lookups), on=same, how="inner")
    best_first = Window.partitionBy(*_CODE, "step").orderBy("rank", "source_concept_id")
    alike = Window.partitionBy(*_CODE, "step", "rank")
    ranked = hits.withColumns({"place": F.row_number().over(best_first), "alike": F.count(F.lit(1)).over(alike)})
    is_meant = (F.col("place") == 1) & ((F.col("source_vocabulary_id") != DRUG_NAME) | (F.col("alike") == 1))
    return ranked.where(is_meant).select(*_CODE, "step", "source_concept_id")


def _drug_names(concepts: DataFrame) -> DataFrame:
    """The names of valid medicines as codes of DRUG_NAME, ranked by their vocabulary."""
    vocabulary = F.col("vocabulary_id")
    is_named = vocabulary.isin(*NAMED_VOCABULARIES) & (F.col("domain_id") == "Drug") & F.col("invalid_reason").isNull()
    ranks = [F.when(vocabulary == name, F.lit(rank)) for rank, name in enumerate(NAMED_VOCABULARIES)]
    return concepts.where(is_named).select(
        F.col("concept_id").alias("source_concept_id"),
        F.lit(DRUG_NAME).alias("concept_vocabulary_id"),
        normalise(DRUG_NAME, F.col("concept_name")).alias("concept_code"),
        F.coalesce(*ranks).alias("rank"),
    )


def _standard(concepts: DataFrame) -> DataFrame:
    """One row per concept that may be a target."""
    return concepts.where(is_valid_standard()).select(
        F.col("concept_id").alias("target_concept_id"),
        F.col("domain_id").alias("target_domain_id"),
        F.col("vocabulary_id").alias("target_vocabulary_id"),
    )


def _edges(relationships: DataFrame, *kinds: str) -> DataFrame:
    valid = F.col("relationship_id").isin(*kinds) & F.col("invalid_reason").isNull()
    return relationships.where(valid).select("concept_id_1", "concept_id_2", "relationship_id")


def _with_replacements(found: DataFrame, relationships: DataFrame) -> DataFrame:
    """One row per lookup and concept to follow: level 0 is its source concept, later levels are its replacements.

    A chain of joins in which each frame is used once, because an engine without a cache recomputes a frame at every use.
    """
    chain = found.withColumn("at0", F.col("source_concept_id"))
    for level in range(1, REPLACEMENTS_FOLLOWED + 1):
        replaced = _edges(relationships, REPLACED_BY).select(
            F.col("concept_id_1").alias(f"at{level - 1}"), F.col("concept_id_2").alias(f"at{level}")
        )
        chain = chain.join(replaced, on=f"at{level - 1}", how="left")
    places = F.array(*[F.col(f"at{level}") for level in range(REPLACEMENTS_FOLLOWED + 1)])
    placed = chain.select(*_CODE, "step", "source_concept_id", F.posexplode(places).alias("level", "at"))
    # Replacements that branch repeat the concepts that the branches share.
    return placed.where(F.col("at").isNotNull()).distinct()


def _athena_answers(found: DataFrame, concepts: DataFrame, relationships: DataFrame) -> DataFrame:
    """Answers of the vocabulary: the valid standard concepts of the first level of replacement that maps to any."""
    edges = _edges(relationships, MAPS_TO, MAPS_TO_VALUE).withColumnRenamed("concept_id_2", "target_concept_id")
    followed = F.broadcast(_with_replacements(found, relationships))
    mapped = edges.join(followed, on=F.col("concept_id_1") == F.col("at"), how="inner")
    ends = _standard(concepts).join(F.broadcast(mapped), on="target_concept_id", how="inner")
    is_target = F.col("relationship_id") == MAPS_TO
    lookup = Window.partitionBy(*_CODE, "step")
    values = F.collect_set(F.when(~is_target, F.col("target_concept_id"))).over(Window.partitionBy(*_CODE, "step", "at"))
    carried = F.when(F.col("target_domain_id").isin(*VALUE_DOMAINS), F.col("values"))
    nearest = ends.withColumn("nearest", F.min(F.when(is_target, F.col("level"))).over(lookup)).withColumn("values", values)
    is_name = F.col("source_vocabulary_id") == DRUG_NAME
    by_code = F.when(F.col("step") == 0, F.lit(ATHENA)).otherwise(F.concat(F.lit(FALLBACK), F.col("step").cast("string")))
    origin = F.when(is_name, F.lit(NAME)).otherwise(by_code)
    answers = nearest.where(is_target & (F.col("level") == F.col("nearest"))).select(
        "*", F.explode_outer(carried).alias("value_as_concept_id"), origin.alias("map_origin")
    )
    # Two concepts of one level may share a target.
    return _answers(answers, _rank(_ATHENA_RANK)).distinct()


def _known_answers(found: DataFrame) -> DataFrame:
    """Codes that the vocabulary contains, mapped or not: they keep their source concept, and no fallback is used.

    Of less specific forms only the source concept is of use, to a local answer for this form.
    """
    step = F.col("step")
    return _answers(_unmapped(found), F.when(step == 0, F.lit(_KNOWN_RANK)).otherwise(_known_form_rank(step)))


def _known_form_rank(step: Column) -> Column:
    """The rank of a less specific form that the vocabulary contains: after all answers, so that it is never one."""
    return F.lit(_LAST_RANK) + step


def _last_answers(wanted: DataFrame) -> DataFrame:
    """The answer for a code that neither the local maps nor the vocabulary contain."""
    return _answers(_unmapped(wanted.withColumn("source_concept_id", F.lit(0))), F.lit(_LAST_RANK))


def _unmapped(rows: DataFrame) -> DataFrame:
    return rows.withColumns(
        {
            "target_concept_id": F.lit(0),
            "target_domain_id": F.lit(None),
            "target_vocabulary_id": F.lit(None),
            "value_as_concept_id": F.lit(None),
            "map_origin": F.lit(NONE),
        }
    )


def _local_answers(lookups: DataFrame, local_maps: DataFrame, concepts: DataFrame) -> DataFrame:
    """Answers of the approved local maps. Target 0 is an answer too: the code maps to no concept on purpose."""
    maps = local_maps.select(
        "source_vocabulary_id", F.col("source_code").alias("form"), "source_concept_id", "target_concept_id"
    )
    hits = lookups.join(F.broadcast(maps), on=["source_vocabulary_id", "form"], how="inner")
    targets = _standard(concepts).withColumnRenamed("target_concept_id", "standard_concept_id")
    hits = targets.join(
        F.broadcast(hits), on=F.col("standard_concept_id") == F.col("target_concept_id"), how="right"
    ).withColumns({"value_as_concept_id": F.lit(None), "map_origin": F.lit(LOCAL)})
    # Loading the maps already refuses targets that are not standard concepts.
    answers = _answers(hits.withColumn("target_concept_id", F.coalesce("standard_concept_id", F.lit(0))), _rank(_LOCAL_RANK))
    # Spellings that become equal when normalised may repeat a target.
    return answers.distinct()


def _answers(rows: DataFrame, rank: Column) -> DataFrame:
    ranked = rows.withColumn("rank", rank)
    return ranked.select(*[F.col(name).cast(kind).alias(name) for name, kind in _ANSWER_SCHEMA.items()])


def _rank(order: int) -> Column:
    return F.col("step") * F.lit(_RANKS_PER_STEP) + F.lit(order)


def _best(answers: DataFrame) -> DataFrame:
    """The best-ranked answers of each code, numbered by target. A local answer takes the source concept if it is known."""
    per_code = Window.partitionBy(*_CODE)
    ranked = answers.withColumn("best", F.min("rank").over(per_code))
    step = F.floor(F.col("best") / _RANKS_PER_STEP).cast("int")
    form_rank = F.when(step == 0, F.lit(_KNOWN_RANK)).otherwise(_known_form_rank(step))
    known = F.max(F.when(F.col("rank") == form_rank, F.col("source_concept_id"))).over(per_code)
    best = ranked.withColumn("known", known).where(F.col("rank") == F.col("best"))
    own_source = F.nullif(F.col("source_concept_id"), F.lit(0).cast("bigint"))
    # Targets and values are unique within a code, so this order is total.
    by_target = Window.partitionBy(*_CODE).orderBy("target_concept_id", "value_as_concept_id")
    values = {
        "source_concept_id": F.coalesce(own_source, F.col("known"), F.lit(0)),
        "ordinal": F.row_number().over(by_target) - F.lit(1),
    }
    return best.select(*[values.get(name, F.col(name)).cast(kind).alias(name) for name, kind in CONCEPT_MAP_SCHEMA.items()])


def with_standard_of_analyte(code_map: DataFrame, concepts: DataFrame, standard: Mapping[int, int]) -> DataFrame:
    """The result of `resolve_codes` with one target concept per analyte, whatever vocabulary a source codes it in.

    `standard` gives the standard concept of the analyte by every other concept that means it; `map_origin` then ends in
    OF_ANALYTE. What the vocabulary does not have
    as a standard measurement replaces nothing. Targets of a code that become equal are
    one, with the least of their ordinals.
    """
    if not standard:
        return code_map
    listed = code_map.sparkSession.createDataFrame(
        sorted(standard.items()), "listed_concept_id bigint, analyte_concept_id bigint"
    )
    analytes = _standard(concepts).select(
        F.col("target_concept_id").alias("analyte_concept_id"),
        F.col("target_domain_id").alias("analyte_domain_id"),
        F.col("target_vocabulary_id").alias("analyte_vocabulary_id"),
    )
    analytes = analytes.where(F.col("analyte_domain_id") == "Measurement")
    usable = F.broadcast(analytes.join(F.broadcast(listed), on="analyte_concept_id", how="inner"))
    joined = code_map.join(usable, on=F.col("target_concept_id") == F.col("listed_concept_id"), how="left")
    replaced = {
        f"target_{part}": F.coalesce(F.col(f"analyte_{part}"), F.col(f"target_{part}"))
        for part in ("concept_id", "domain_id", "vocabulary_id")
    }
    replaced["map_origin"] = F.when(
        F.col("listed_concept_id").isNotNull(), F.concat(F.col("map_origin"), F.lit(OF_ANALYTE))
    ).otherwise(F.col("map_origin"))
    named = joined.select(*[replaced.get(name, F.col(name)).alias(name) for name in CONCEPT_MAP_SCHEMA])
    answers = ("target_concept_id", "value_as_concept_id")
    first = named.withColumn("place", F.row_number().over(Window.partitionBy(*_CODE, *answers).orderBy("ordinal")))
    return first.where(F.col("place") == 1).select(*CONCEPT_MAP_SCHEMA)
