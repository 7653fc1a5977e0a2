"""Checks what the local maps and the constants of the mappings mean, against the loaded vocabulary.

`vocab.meaning` says what is a fault.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import functions as F

from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import FIELDS, FieldRule
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.progress import Field
from pipelines.storage.tables import TableStore
from vocab.concepts import FIRST_LOCAL_CONCEPT
from vocab.local_maps import LocalMap, declared_vocabularies
from vocab.meaning import Concept, MeaningFault, extra_words, map_faults

_CONCEPT_ID = "_concept_id"


@dataclass(frozen=True)
class Constant:
    """A concept that a mapping rule gives, whatever is delivered, with its note."""

    source: str
    rule: str
    field: str
    concept_id: int
    note: str

    def as_row(self) -> dict[str, Field]:
        """The constant for display."""
        return {"rule": f"{self.source}: {self.rule}", "field": self.field, "concept": self.concept_id, "note": self.note}


def constants(mappings: Iterable[SourceMapping]) -> Iterator[Constant]:
    """The concepts that the rules of mappings give as constants."""
    for mapping in mappings:
        for rule in mapping.rules:
            for field, how in rule.fields.items():
                concept_id = _constant_concept(field, FIELDS[rule.to][field], how)
                if concept_id:
                    yield Constant(mapping.source, rule.name, field, concept_id, how.note)
            if of := rule.value_of:
                yield Constant(mapping.source, rule.name, "value_of", of.concept, of.note)


def _constant_concept(field: str, kind: str, how: FieldRule) -> int:
    is_concept = kind == "concept" or field.endswith(_CONCEPT_ID)
    return how.constant if is_concept and isinstance(how.constant, int) else 0


def local_constants(mappings: Iterable[SourceMapping]) -> frozenset[int]:
    """The local concepts that mappings name themselves, so that retiring one needs a change of the mapping."""
    return frozenset(found.concept_id for found in constants(mappings) if found.concept_id >= FIRST_LOCAL_CONCEPT)


def concepts_of(store: TableStore, ids: Iterable[int]) -> dict[int, Concept]:
    """The concepts of the loaded vocabulary with some ids, with their synonyms; ids that it lacks are left out."""
    wanted = store.session.createDataFrame([(concept_id,) for concept_id in sorted(set(ids))], "concept_id bigint")
    columns = ("name", "domain_id", "vocabulary_id", "concept_code")
    own = store.read(Zone.VOCABULARY, "concept").select("concept_id", F.col("concept_name").alias("name"), *columns[1:])
    synonyms = store.read(Zone.VOCABULARY, "concept_synonym").select(
        "concept_id",
        F.col("concept_synonym_name").alias("name"),
        *[F.lit(None).cast("string").alias(column) for column in columns[1:]],
    )
    named = own.unionByName(synonyms).join(F.broadcast(wanted), on="concept_id", how="left_semi").toArrow().to_pylist()
    others: dict[int, list[str]] = {}
    for row in named:
        if row["domain_id"] is None:
            others.setdefault(row["concept_id"], []).append(row["name"])
    return {
        row["concept_id"]: Concept(
            row["concept_id"],
            row["name"],
            tuple(sorted(others.get(row["concept_id"], ()))),
            row["domain_id"],
            row["vocabulary_id"],
            row["concept_code"],
        )
        for row in named
        if row["domain_id"] is not None
    }


def faults_of_maps(concepts: Mapping[int, Concept], folder: Path, maps: Sequence[LocalMap]) -> tuple[MeaningFault, ...]:
    """The approved maps of a folder that mean something else than their codes, and that nobody has reviewed."""
    titles = {name: declared.vocabulary_name for name, declared in declared_vocabularies(folder).items()}
    return tuple(map_faults((row for row in maps if row.is_approved), concepts, titles))


def faults_of_constants(store: TableStore, mappings: Mapping[str, SourceMapping]) -> tuple[Constant, ...]:
    """The constants whose concept has a name that says more than the note in the mapping."""
    found = tuple(constants(mappings.values()))
    concepts = concepts_of(store, (constant.concept_id for constant in found))
    return tuple(
        constant
        for constant in found
        if constant.concept_id in concepts and extra_words(constant.note, concepts[constant.concept_id])
    )
