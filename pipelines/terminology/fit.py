"""Whether local maps, constants of the mappings and analytes fit a vocabulary, and what the maps lead to in it.

A run, the load of a vocabulary and the comparison of two judge by the same functions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.mapping.analytes import ANALYTES_FILE, Analytes
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.progress import Field
from pipelines.terminology.meaning import constants
from vocab.concepts import is_valid_standard
from vocab.local_maps import (
    CurrentTarget,
    LocalMap,
    TargetFault,
    approved_maps,
    current_targets,
    faulty_targets,
    with_current_targets,
    with_equivalents,
)


@dataclass(frozen=True)
class FittedMaps:
    """Local maps as a vocabulary has their targets, and those approved ones whose target it does not have as a standard one."""

    maps: tuple[LocalMap, ...]
    faults: tuple[TargetFault, ...]


@dataclass(frozen=True)
class Unfit:
    """A line of a map file, a field of a mapping rule, or an analyte, whose concept is no standard one of a vocabulary."""

    place: str
    concept_id: int
    problem: str

    def as_row(self) -> dict[str, Field]:
        """For display."""
        return {"place": self.place, "concept": self.concept_id, "problem": self.problem}


def vocabulary_of_each(concepts: DataFrame, replaced: Mapping[int, int]) -> dict[int, tuple[int, str]]:
    """The retired concepts of this project (`replaced`), each with its equivalent and the equivalent's vocabulary.

    Equivalents that `concepts` (CONCEPT) does not have are left out.
    """
    if not replaced:
        return {}
    found = concepts.where(F.col("concept_id").isin(*set(replaced.values()))).select("concept_id", "vocabulary_id")
    names = {row["concept_id"]: row["vocabulary_id"] for row in found.toArrow().to_pylist()}
    return {local: (other, names[other]) for local, other in replaced.items() if other in names}


def fitted_maps(
    maps: Sequence[LocalMap], concepts: DataFrame, relationships: DataFrame, replaced: Mapping[int, tuple[int, str]]
) -> FittedMaps:
    """The maps with targets of a vocabulary (CONCEPT and CONCEPT_RELATIONSHIP).

    Maps to retired concepts of this project lead to their equivalents (`replaced`); a target that the vocabulary has replaced
    by one standard concept is that concept.
    """
    session = concepts.sparkSession
    current = with_equivalents(maps, replaced)
    found = faulty_targets(approved_maps(session, current), concepts).toArrow().to_pylist()
    faulty = [TargetFault(**row) for row in found]
    if not faulty:
        return FittedMaps(current, ())
    replacing = current_targets({fault.target_concept_id for fault in faulty}, concepts, relationships).toArrow().to_pylist()
    followed = {row["target_concept_id"] for row in replacing}
    still_faulty = tuple(fault for fault in faulty if fault.target_concept_id not in followed)
    return FittedMaps(with_current_targets(current, [CurrentTarget(**row) for row in replacing]), still_faulty)


def unfit(
    faults: Iterable[TargetFault], concepts: DataFrame, mappings: Collection[SourceMapping], analytes: Analytes
) -> tuple[Unfit, ...]:
    """What does not fit a vocabulary (CONCEPT): maps of codes that the mappings use, constants of the mappings, and analytes.

    With such a map no run starts, with such a constant the gates stop the release. An analyte without its standard
    measurement has no common concept, and its results are not harmonised. `faults` are those of `fitted_maps`.
    """
    in_use = frozenset[str]().union(*(mapping.vocabularies for mapping in mappings))
    named = list(constants(mappings))
    asked = {*(constant.concept_id for constant in named), *(analyte.concept for analyte in analytes.analytes.values())}
    found = concepts.where(is_valid_standard() & F.col("concept_id").isin(*asked)).select("concept_id", "domain_id")
    domains = {row["concept_id"]: row["domain_id"] for row in found.toArrow().to_pylist()}
    of_maps = [
        Unfit(f"{fault.file} line {fault.line}", fault.target_concept_id, fault.problem)
        for fault in faults
        if fault.source_vocabulary_id in in_use
    ]
    of_constants = [
        Unfit(f"{constant.source}: {constant.rule}, {constant.field}", constant.concept_id, "is not a valid standard concept")
        for constant in named
        if constant.concept_id not in domains
    ]
    of_analytes = [
        Unfit(f"{ANALYTES_FILE}: {name}", analyte.concept, "is not a valid standard measurement")
        for name, analyte in analytes.analytes.items()
        if domains.get(analyte.concept) != "Measurement"
    ]
    return (*of_maps, *of_constants, *of_analytes)
