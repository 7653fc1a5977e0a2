"""Standard concepts whose names are like a description: what a person who maps codes may choose from.

Comparing every description with millions of names is too much work. The engine first finds the names that share rare word
beginnings with a description; only those are compared letter by letter.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from rapidfuzz import fuzz, utils

STEM_LENGTH = 5
"""Characters of a word that are compared at first, so that endings and late typing errors do not matter."""

SHORTEST_WORD = 3

STEMS_USED = 4
"""How many of the rarest word beginnings of a description are looked for."""

MOST_NAMES_OF_STEM = 50_000
"""A word beginning that more names have says too little and is not looked for."""

NAMES_COMPARED = 200
"""Names that are compared letter by letter with one description."""

LOWEST_SCORE = 60.0
"""A score below this (of 100) is no suggestion."""

FIELD_DOMAINS = {"unit": "Unit", "route": "Route", "specialty": "Provider", "operator": "Meas Value Operator"}
"""The domain of what a field may hold. Any other field may hold any concept that describes care."""

NOT_CLINICAL = (
    "Metadata", "Type Concept", "Relationship", "Unit", "Route", "Provider", "Geography", "Language", "Currency",
    "Cost", "Payer", "Plan", "Plan Stop Reason", "Sponsor", "Revenue Code", "Meas Value Operator",
)  # fmt: skip
"""Domains of concepts that do not describe care."""

_CONCEPT = ("concept_id", "concept_name", "domain_id", "vocabulary_id")


@dataclass(frozen=True)
class Description:
    """What a code means, as somebody wrote it, and the field that it is used in."""

    key: int
    text: str
    field: str


@dataclass(frozen=True)
class Candidate:
    """A standard concept with the likeness of its name, or of a synonym, to a description: 100 is the same words."""

    concept_id: int
    name: str
    domain: str
    vocabulary: str
    score: float


def best_candidates(
    descriptions: Iterable[Description], rows: Iterable[Mapping[str, Any]], most: int
) -> dict[int, tuple[Candidate, ...]]:
    """The best candidates by the key of each description, at most `most`, the likest first.

    `rows` are those of `similar_names`. A description of which nothing is like is left out.
    """
    by_key = {one.key: one for one in descriptions}
    found: dict[int, dict[int, Candidate]] = defaultdict(dict)
    for row in rows:
        description = by_key[row["key"]]
        if not _fits(description.field, row["domain_id"]):
            continue
        score = fuzz.token_sort_ratio(description.text, row["name"], processor=utils.default_process, score_cutoff=LOWEST_SCORE)
        known = found[row["key"]].get(row["concept_id"])
        if score and (known is None or known.score < score):
            found[row["key"]][row["concept_id"]] = Candidate(
                row["concept_id"], row["concept_name"], row["domain_id"], row["vocabulary_id"], round(score, 1)
            )
    ranked = {key: sorted(some.values(), key=lambda one: (-one.score, one.concept_id)) for key, some in found.items()}
    return {key: tuple(some[:most]) for key, some in ranked.items() if some}


def _fits(field: str, domain: str) -> bool:
    return domain == FIELD_DOMAINS[field] if field in FIELD_DOMAINS else domain not in NOT_CLINICAL


def _stems_of(text: str) -> set[str]:
    words = re.sub("[^0-9a-z]+", " ", text.lower()).split()
    return {word[:STEM_LENGTH] for word in words if len(word) >= SHORTEST_WORD}


def _stems(name: Column) -> Column:
    """`_stems_of` for a column."""
    words = F.filter(F.split(F.regexp_replace(F.lower(name), "[^0-9a-z]+", " "), " "), lambda w: F.length(w) >= SHORTEST_WORD)
    return F.array_distinct(F.transform(words, lambda word: F.substring(word, 1, STEM_LENGTH)))


def standard_names(concepts: DataFrame, synonyms: DataFrame) -> DataFrame:
    """One row per name and synonym of a valid standard concept, from CONCEPT and CONCEPT_SYNONYM."""
    standard = concepts.where((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).select(*_CONCEPT)
    others = synonyms.select("concept_id", F.col("concept_synonym_name").alias("name"))
    own = standard.withColumn("name", F.col("concept_name"))
    return own.unionByName(others.join(standard, on="concept_id", how="inner").select(*_CONCEPT, "name"))


def stem_frequencies(names: DataFrame, descriptions: Iterable[Description]) -> DataFrame:
    """One row per word beginning of the descriptions that names have: `stem`, and in how many names it is (`names`)."""
    stems = sorted({stem for one in descriptions for stem in _stems_of(one.text)})
    wanted = names.sparkSession.createDataFrame([(stem,) for stem in stems], "stem string")
    exploded = names.select(F.explode(_stems(F.col("name"))).alias("stem"))
    found = exploded.join(F.broadcast(wanted), on="stem", how="left_semi")
    return found.groupBy("stem").agg(F.count(F.lit(1)).alias("names"))


def similar_names(names: DataFrame, descriptions: Iterable[Description], frequencies: Mapping[str, int]) -> DataFrame:
    """The names that share most rare word beginnings with each description (`key`), the shorter first where that is equal.

    `frequencies` are those of `stem_frequencies`.
    """
    wanted = [(one.key, stem) for one in descriptions for stem in _rarest(_stems_of(one.text), frequencies)]
    asked = names.sparkSession.createDataFrame(wanted, "key int, stem string")
    exploded = names.withColumn("stem", F.explode(_stems(F.col("name"))))
    columns = ["key", *_CONCEPT, "name"]
    hits = exploded.join(F.broadcast(asked), on="stem", how="inner").groupBy(*columns).agg(F.count(F.lit(1)).alias("shared"))
    best = Window.partitionBy("key").orderBy(F.col("shared").desc(), F.length("name"), "concept_id", "name")
    return hits.withColumn("place", F.row_number().over(best)).where(F.col("place") <= NAMES_COMPARED).select(*columns)


def _rarest(stems: Iterable[str], frequencies: Mapping[str, int]) -> list[str]:
    useful = [stem for stem in stems if 0 < frequencies.get(stem, 0) <= MOST_NAMES_OF_STEM]
    return sorted(useful, key=lambda stem: (frequencies[stem], stem))[:STEMS_USED]
