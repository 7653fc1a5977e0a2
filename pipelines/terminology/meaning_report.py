"""Everything that the check of meaning shows: what a person who looks after the maps should look at."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.mapping.analytes import load_analytes
from pipelines.mapping.spec import load_mappings
from pipelines.progress import Field
from pipelines.quality.suppression import shown
from pipelines.settings import Settings
from pipelines.storage.tables import TableStore
from pipelines.terminology.fit import Unfit, fitted_maps, unfit
from pipelines.terminology.meaning import Constant, concepts_of, faults_of_constants, faults_of_maps
from pipelines.terminology.vocabulary import MAPS_FOLDER
from pipelines.terminology.work_list import candidates_for
from vocab.candidates import Candidate, Description, standard_names
from vocab.concept_map import MAPS_TO
from vocab.concepts import is_valid_standard
from vocab.equivalents import LOCAL_VOCABULARY
from vocab.local_maps import LocalMap, read_local_maps
from vocab.meaning import Concept, MeaningFault, loses_words, pair_fault

_CANDIDATES = 3
_MEASUREMENT = "measurement"


@dataclass(frozen=True)
class UnitUse:
    """A measured concept with a unit whose dimension is not that of its property, and the rows of the last run."""

    detail: str
    rows: int

    def as_row(self) -> dict[str, Field]:
        """For display: small numbers are hidden."""
        return {"result": self.detail, "rows": shown(self.rows)}


@dataclass(frozen=True)
class LocalConcept:
    """A standard concept of this project, and concepts of OMOP with similar names that may be its equivalent."""

    concept_id: int
    name: str
    candidates: tuple[Candidate, ...]

    def as_row(self) -> dict[str, Field]:
        """The concept for display."""
        listed = "; ".join(f"{found.concept_id} {found.name} ({found.score})" for found in self.candidates)
        return {"concept": self.concept_id, "name": self.name, "candidates": listed}


@dataclass(frozen=True)
class MeaningReport:
    """What the check found.

    `unfit`, `maps`, `constants` and `units` are faults. `broader` are maps that lose a part of their text, which is allowed.
    `local_concepts` are those for which OMOP may have a concept.
    """

    unfit: tuple[Unfit, ...]
    maps: tuple[MeaningFault, ...]
    constants: tuple[Constant, ...]
    units: tuple[UnitUse, ...]
    broader: tuple[LocalMap, ...]
    local_concepts: tuple[LocalConcept, ...]
    names: Mapping[int, Concept]

    @property
    def faults(self) -> int:
        """How many faults are open."""
        return len(self.unfit) + len(self.maps) + len(self.constants) + len(self.units)

    def summary(self) -> dict[str, Field]:
        """The numbers of what was found."""
        return {
            "not_in_the_vocabulary": len(self.unfit),
            "map_faults": len(self.maps),
            "constant_faults": len(self.constants),
            "unit_faults": len(self.units),
            "broader_maps": len(self.broader),
            "local_concepts_with_candidates": len(self.local_concepts),
        }

    def map_rows(self) -> list[dict[str, Field]]:
        """The faulty maps for display, by file and line."""
        return [
            {
                "map": f"{fault.file} line {fault.line}",
                "target": f"{fault.concept_id} {self.names[fault.concept_id].name}",
                "fault": fault.kind,
                "words": fault.detail,
            }
            for fault in self.maps
        ]

    def broader_rows(self) -> list[dict[str, Field]]:
        """The maps that lose a part of their text, for display."""
        return [
            {
                "map": f"{row.file} line {row.line}",
                "text": row.source_code_description,
                "target": f"{row.target_concept_id} {self.names[row.target_concept_id].name}",
            }
            for row in self.broader
        ]


def check_meaning(store: TableStore, settings: Settings, replaced: Mapping[int, tuple[int, str]]) -> MeaningReport:
    """Check the mappings folder and the results of the last run against the loaded vocabulary."""
    folder = settings.mappings_dir / MAPS_FOLDER
    mappings = load_mappings(settings.mappings_dir, load_contracts(settings.mappings_dir, settings.run.sources))
    vocabulary, relationships = (store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_relationship"))
    fitted = fitted_maps(read_local_maps(folder), vocabulary, relationships, replaced)
    maps = fitted.maps
    concepts = concepts_of(store, (row.target_concept_id for row in maps if row.target_concept_id))
    return MeaningReport(
        unfit=unfit(fitted.faults, vocabulary, mappings.values(), load_analytes(settings.mappings_dir)),
        maps=faults_of_maps(concepts, folder, maps),
        constants=faults_of_constants(store, mappings),
        units=units_in_use(store),
        broader=tuple(
            row
            for row in maps
            if row.target_concept_id in concepts and loses_words(row.source_code_description, concepts[row.target_concept_id])
        ),
        local_concepts=local_concepts(store),
        names=concepts,
    )


def units_in_use(store: TableStore) -> tuple[UnitUse, ...]:
    """The results of the last run whose unit does not fit their concept; none where nothing was mapped yet."""
    if not store.exists(Zone.OMOP, _MEASUREMENT):
        return ()
    measured = ("measurement_concept_id", "unit_concept_id")
    results = store.read(Zone.OMOP, _MEASUREMENT).where((F.col(measured[0]) > 0) & (F.col(measured[1]) > 0))
    pairs = results.groupBy(*measured).agg(F.count("measurement_id").alias("rows")).toArrow().to_pylist()
    concepts = concepts_of(store, (pair[name] for pair in pairs for name in measured))
    found = []
    for pair in pairs:
        concept, unit = (concepts.get(pair[name]) for name in measured)
        fault = pair_fault(concept, unit) if concept and unit else None
        if fault:
            found.append(UnitUse(fault[1], pair["rows"]))
    return tuple(sorted(found, key=lambda use: (-use.rows, use.detail)))


def local_concepts(store: TableStore) -> tuple[LocalConcept, ...]:
    """The standard local concepts for which OMOP has candidates of the same domain, by name or by what similar codes map to."""
    concepts = store.read(Zone.VOCABULARY, "concept")
    is_ours = F.col("vocabulary_id") == LOCAL_VOCABULARY
    own = concepts.where(is_valid_standard() & is_ours).select("concept_id", "concept_name", "domain_id")
    ours = {row["concept_id"]: row for row in own.toArrow().to_pylist()}
    asked = [Description(concept_id, row["concept_name"].rpartition(": ")[2], "") for concept_id, row in ours.items()]
    others = concepts.where(~is_ours)
    names = standard_names(others, store.read(Zone.VOCABULARY, "concept_synonym"))
    similar = candidates_for(asked, names.unionByName(_mapped_names(store, others)), _CANDIDATES * _CANDIDATES)
    found = []
    for concept_id, candidates in sorted(similar.items()):
        fitting = tuple(found for found in candidates if found.domain == ours[concept_id]["domain_id"])[:_CANDIDATES]
        if fitting:
            found.append(LocalConcept(concept_id, ours[concept_id]["concept_name"], fitting))
    return tuple(found)


def _mapped_names(store: TableStore, concepts: DataFrame) -> DataFrame:
    """One row per concept that maps to another: the target with the name of the concept, as `standard_names` gives names."""
    edges = store.read(Zone.VOCABULARY, "concept_relationship")
    maps = edges.where((F.col("relationship_id") == MAPS_TO) & (F.col("concept_id_1") != F.col("concept_id_2")))
    pairs = maps.where(F.col("invalid_reason").isNull()).select(
        F.col("concept_id_1").alias("from_id"), F.col("concept_id_2").alias("concept_id")
    )
    sources = concepts.select(F.col("concept_id").alias("from_id"), F.col("concept_name").alias("name"))
    targets = concepts.where(is_valid_standard()).select("concept_id", "concept_name", "domain_id", "vocabulary_id")
    joined = pairs.join(sources, on="from_id", how="inner").join(targets, on="concept_id", how="inner")
    return joined.select("concept_id", "concept_name", "domain_id", "vocabulary_id", "name")
