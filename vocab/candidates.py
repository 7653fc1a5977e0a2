"""Finds standard concepts whose names are similar to a description, as suggestions for a person who maps codes.

Comparing every description with millions of names is too slow. The engine first finds the names that share rare word
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

from vocab.concepts import is_valid_standard

STEM_LENGTH = 5
"""Characters of a word that are compared at first, so that endings and late typing errors do not matter."""

SHORTEST_WORD = 3

STEMS_USED = 4
"""How many of the rarest word beginnings of a description are searched for."""

MOST_NAMES_OF_STEM = 50_000
"""A word beginning that occurs in more names than this is too common and is not searched for."""

NAMES_COMPARED = 200
"""Names that are compared letter by letter with one description."""

LOWEST_SCORE = 60.0
"""Candidates with a score below this (of 100) are not suggested."""

FIELD_DOMAINS = {"unit": "Unit", "route": "Route", "specialty": "Provider", "operator": "Meas Value Operator"}
"""Fields whose concepts must be of one domain. Any other field accepts every concept that describes care."""

NOT_CLINICAL = (
    "Metadata", "Type Concept", "Relationship", "Unit", "Route", "Provider", "Geography", "Language", "Currency",
    "Cost", "Payer", "Plan", "Plan Stop Reason", "Sponsor", "Revenue Code", "Meas Value Operator",
)  # fmt: skip
"""Domains of concepts that do not describe care."""

_CONCEPT = ("concept_id", "concept_name", "domain_id", "vocabulary_id")


@dataclass(frozen=True)
class Description:
    """The text that describes a code, and the field in which the code is used. `key` identifies the description."""

    key: int
    text: str
    field: str


@dataclass(frozen=True)
class Candidate:
    """A standard concept. `score` is how similar its name or a synonym is to a description; 100 means the same words."""

    concept_id: int
    name: str
    domain: str
    vocabulary: str
    score: float


def best_candidates(
    descriptions: Iterable[Description], rows: Iterable[Mapping[str, Any]], most: int
) -> dict[int, tuple[Candidate, ...]]:
    """The best candidates by the key of each description, at most `most`, the most similar first.

    `rows` are those of `similar_names`. A description without a similar name is left out.
    """
    by_key = {description.key: description for description in descriptions}
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
    ranked = {
        key: sorted(some.values(), key=lambda candidate: (-candidate.score, candidate.concept_id))
        for key, some in found.items()
    }
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
    standard = concepts.where(is_valid_standard()).select(*_CONCEPT)
    synonym_names = synonyms.select("concept_id", F.col("concept_synonym_name").alias("name"))
    own = standard.withColumn("name", F.col("concept_name"))
    return own.unionByName(synonym_names.join(standard, on="concept_id", how="inner").select(*_CONCEPT, "name"))


def stem_frequencies(names: DataFrame, descriptions: Iterable[Description]) -> DataFrame:
    """One row per word beginning (`stem`) of the descriptions that occurs in a name, and the number of such names (`names`)."""
    stems = sorted({stem for description in descriptions for stem in _stems_of(description.text)})
    wanted = names.sparkSession.createDataFrame([(stem,) for stem in stems], "stem string")
    exploded = names.select(F.explode(_stems(F.col("name"))).alias("stem"))
    found = exploded.join(F.broadcast(wanted), on="stem", how="left_semi")
    return found.groupBy("stem").agg(F.count(F.lit(1)).alias("names"))


def similar_names(names: DataFrame, descriptions: Iterable[Description], frequencies: Mapping[str, int]) -> DataFrame:
    """One row per description (`key`) and name: the names that share most of its rare word beginnings.

    Of names that share equally many, the shorter ones are kept.
    `frequencies` are those of `stem_frequencies`.
    """
    wanted = [
        (description.key, stem) for description in descriptions for stem in _rarest(_stems_of(description.text), frequencies)
    ]
    asked = names.sparkSession.createDataFrame(wanted, "key int, stem string")
    exploded = names.withColumn("stem", F.explode(_stems(F.col("name"))))
    columns = ["key", *_CONCEPT, "name"]
    hits = exploded.join(F.broadcast(asked), on="stem", how="inner").groupBy(*columns).agg(F.count(F.lit(1)).alias("shared"))
    best = Window.partitionBy("key").orderBy(F.col("shared").desc(), F.length("name"), "concept_id", "name")
    return hits.withColumn("place", F.row_number().over(best)).where(F.col("place") <= NAMES_COMPARED).select(*columns)


def _rarest(stems: Iterable[str], frequencies: Mapping[str, int]) -> list[str]:
    useful = [stem for stem in stems if 0 < frequencies.get(stem, 0) <= MOST_NAMES_OF_STEM]
    return sorted(useful, key=lambda stem: (frequencies[stem], stem))[:STEMS_USED]
