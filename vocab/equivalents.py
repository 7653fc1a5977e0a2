"""Retires concepts of this project that a download has an equivalent for: a local concept is standard only while OMOP has none.

An equivalent is the only valid standard concept of the domain whose name or synonym has the same words as the local concept.
The retired concept keeps its row, without the standard flag and with `invalid_reason` U, and maps to the equivalent.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import date
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from vocab.athena import TABLES
from vocab.concept_map import MAPS_TO, REPLACED_BY
from vocab.concepts import STANDARD, is_valid_standard
from vocab.schemas import ddl_of

LOCAL_VOCABULARY = "NHS OMOP"
"""The vocabulary of this project's concepts."""

_REPLACES, _MAPPED_FROM, _UPDATED = "Concept replaces", "Mapped from", "U"
_ALWAYS = (date(1970, 1, 1), date(2099, 12, 31))
_REVERSES = {REPLACED_BY: _REPLACES, MAPS_TO: _MAPPED_FROM}


def retired(folder: Path) -> dict[int, int]:
    """The concepts of a folder that are retired already, with their equivalents."""
    with (folder / "CONCEPT_RELATIONSHIP.csv").open(encoding="utf-8", newline="") as file:
        edges = [row for row in csv.DictReader(file, delimiter="\t") if row["relationship_id"] == REPLACED_BY]
    return {int(row["concept_id_1"]): int(row["concept_id_2"]) for row in edges}


def equivalents(folder: Path, concepts: DataFrame, synonyms: DataFrame, kept: Container[int] = ()) -> dict[int, int]:
    """The standard concepts of a folder that a download has an equivalent for, with it. `kept` are left as they are."""
    wanted: dict[tuple[str, str], int] = {}
    with (folder / "CONCEPT.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["standard_concept"] == STANDARD and int(row["concept_id"]) not in kept:
                wanted[row["domain_id"], _words_of(row["concept_name"])] = int(row["concept_id"])
    found: dict[int, set[int]] = defaultdict(set)
    for match in _same_words(wanted, concepts, synonyms).toArrow().to_pylist():
        found[wanted[match["domain_id"], match["words"]]].add(match["concept_id"])
    return {local: ids.pop() for local, ids in sorted(found.items()) if len(ids) == 1}


def _same_words(wanted: Iterable[tuple[str, str]], concepts: DataFrame, synonyms: DataFrame) -> DataFrame:
    """One row per valid standard concept that has one of the wanted domains and words (`concept_id`, `domain_id`, `words`)."""
    asked = concepts.sparkSession.createDataFrame(sorted(wanted), "domain_id string, words string")
    standard = concepts.where(is_valid_standard()).select("concept_id", "domain_id", "concept_name")
    own = standard.select("concept_id", "domain_id", _words(F.col("concept_name")).alias("words"))
    others = synonyms.select("concept_id", _words(F.col("concept_synonym_name")).alias("words"))
    by_synonym = others.join(F.broadcast(asked.select("words").distinct()), on="words", how="left_semi")
    named = own.unionByName(by_synonym.join(standard.select("concept_id", "domain_id"), on="concept_id", how="inner"))
    return named.join(F.broadcast(asked), on=["domain_id", "words"], how="left_semi").distinct()


def _words_of(name: str) -> str:
    """The words of a name, sorted, so that their order does not matter."""
    return " ".join(sorted(re.sub("[^0-9a-z]+", " ", name.lower()).split()))


def _words(name: Column) -> Column:
    """`_words_of` for a column."""
    words = F.split(F.trim(F.regexp_replace(F.lower(name), "[^0-9a-z]+", " ")), " ")
    return F.array_join(F.array_sort(words), " ")


def with_retired(rows: DataFrame, stem: str, replaced: Mapping[int, int]) -> DataFrame:
    """The rows of a local file (`stem`) when the concepts in `replaced` are retired."""
    if not replaced:
        return rows
    ids = list(replaced)
    if stem == "CONCEPT":
        is_retired = F.col("concept_id").isin(ids)
        return rows.withColumns(
            {
                "standard_concept": F.when(~is_retired, F.col("standard_concept")),
                "invalid_reason": F.when(is_retired, F.lit(_UPDATED)).otherwise(F.col("invalid_reason")),
            }
        )
    if stem == "CONCEPT_ANCESTOR":
        return rows.where(~F.col("descendant_concept_id").isin(ids))
    if stem != "CONCEPT_RELATIONSHIP":
        return rows
    edges = [
        edge
        for local, other in replaced.items()
        for kind, reverse in _REVERSES.items()
        for edge in ((local, other, kind, *_ALWAYS, None), (other, local, reverse, *_ALWAYS, None))
    ]
    return rows.where(~F.col("concept_id_1").isin(ids)).unionByName(
        rows.sparkSession.createDataFrame(edges, ddl_of(TABLES[stem]))
    )
