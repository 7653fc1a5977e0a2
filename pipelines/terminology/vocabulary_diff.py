"""Shows what another vocabulary release would change for the codes in mapped rows."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError
from pipelines.mapping.analytes import Analytes, load_analytes
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import load_mappings
from pipelines.progress import Field, OnProgress
from pipelines.quality.suppression import HIDDEN, shown
from pipelines.scratch import scratch_folder
from pipelines.settings import Settings
from pipelines.storage.paths import StoragePaths
from pipelines.storage.tables import TableStore
from pipelines.terminology.descriptions import descriptions, read_code_tables
from pipelines.terminology.fit import Unfit, fitted_maps, unfit, vocabulary_of_each
from pipelines.terminology.meaning import local_constants
from pipelines.terminology.usage import Use, codes_used, uses
from pipelines.terminology.vocabulary import MAPS_FOLDER, LoadedVocabulary, require_readable
from vocab.athena import TABLES, read_table, unpacked
from vocab.changes import Change, Code, CodeTargets, Kind, changes, targets_by_code
from vocab.concept_map import MAPS_TO, MAPS_TO_VALUE, REPLACED_BY, resolve_codes, with_standard_of_analyte
from vocab.download import check_download
from vocab.equivalents import equivalents, retired, with_retired
from vocab.errors import VocabularyError
from vocab.load import LOCAL_DIR
from vocab.local_maps import LocalMap, approved_maps, read_local_maps

LOADED = "loaded"
"""Names the loaded vocabulary where a download may be named."""

_RESOLVED_BY = {
    "concept": (
        "concept_id",
        "concept_name",
        "domain_id",
        "vocabulary_id",
        "standard_concept",
        "concept_code",
        "invalid_reason",
    ),
    "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
}
"""The tables and columns of a vocabulary that resolving codes needs."""


@dataclass(frozen=True)
class CodeChange:
    """A changed code, its description, the names of its targets by concept id, and the rows and people that have it."""

    change: Change
    description: str
    names: dict[int, str]
    use: Use

    def as_row(self) -> dict[str, Field]:
        """The change for display: small numbers are hidden."""
        domains = [", ".join(sorted(mapped.domains)) for mapped in (self.change.old, self.change.new)]
        return {
            "change": str(self.change.kind),
            "vocabulary": self.change.vocabulary,
            "code": self.change.code,
            "description": self.description,
            "old": self._described(self.change.old),
            "new": self._described(self.change.new),
            "domains": " -> ".join(domains) if self.change.moves else "",
            "rows": shown(self.use.rows),
            "people": shown(self.use.people),
        }

    def _described(self, mapped: CodeTargets) -> str:
        targets = sorted(mapped.targets, key=lambda target: (target[0], target[1] or 0))
        return "; ".join(" = ".join(self._named(part) for part in target if part is not None) for target in targets)

    def _named(self, concept_id: int) -> str:
        return f"{concept_id} {self.names.get(concept_id, '')}".rstrip()


@dataclass(frozen=True)
class Difference:
    """All changes between two releases. `codes` is the number of codes in use that were compared.

    `unfit` are the maps, constants of mappings and analytes that do not fit the new release.
    """

    old_release: str
    new_release: str
    codes: int
    changes: tuple[CodeChange, ...]
    unfit: tuple[Unfit, ...]

    def summary(self) -> list[dict[str, Field]]:
        """Codes and rows by kind of change; people are not added up, because one person may have several codes.

        A sum of rows is hidden too if a hidden number could be computed from it.
        """
        by_kind: dict[Kind, list[CodeChange]] = defaultdict(list)
        for changed in self.changes:
            by_kind[changed.change.kind].append(changed)
        return [
            {
                "change": str(kind),
                "codes": len(by_kind[kind]),
                "rows": _shown_sum([changed.use.rows for changed in by_kind[kind]]),
                "codes_to_other_tables": sum(changed.change.moves for changed in by_kind[kind]),
            }
            for kind in Kind
        ]


def _shown_sum(counts: Sequence[int]) -> int | str:
    hidden = sum(count for count in counts if shown(count) == HIDDEN)
    return HIDDEN if shown(hidden) == HIDDEN else sum(counts)


@dataclass(frozen=True)
class _Side:
    """One of the two vocabularies: its release, and the columns of CONCEPT and CONCEPT_RELATIONSHIP that are needed.

    `replaced` are the concepts of this project that are retired in it, each with its equivalent and that one's vocabulary.
    """

    release: str
    concepts: DataFrame
    relationships: DataFrame
    replaced: Mapping[int, tuple[int, str]]


@dataclass(frozen=True)
class _Ours:
    """What both vocabularies are combined with."""

    maps: Sequence[LocalMap]
    analytes: Analytes
    mappings: Collection[SourceMapping]


def difference(
    store: TableStore, settings: Settings, releases: tuple[str, str], loaded: LoadedVocabulary | None, on_progress: OnProgress
) -> Difference:
    """What the second of two vocabularies changes; both are combined with the local maps and the analytes of the settings,
    as a load and a run would combine them.

    `releases` are two Athena downloads (folder or zip) or the word `loaded`; `loaded` is the loaded vocabulary. The lakehouse
    is not changed. Raises VocabularyError if a download is not usable or none is loaded, OmopPipelineError if nothing was
    mapped yet, and ConfigError if the de-identified root, below which downloads are unpacked, is in an object store.
    """
    codes = codes_used(store)
    mappings = load_mappings(settings.mappings_dir, load_contracts(settings.mappings_dir, settings.run.sources))
    maps = read_local_maps(settings.mappings_dir / MAPS_FOLDER)
    ours = _Ours(maps, load_analytes(settings.mappings_dir), tuple(mappings.values()))
    targets: list[dict[Code, CodeTargets]] = []
    named: dict[int, str] = {}
    labels = []
    root = settings.storage.deidentified
    if not isinstance(root, Path):
        raise ConfigError(f"{root}: downloads are unpacked below storage.deidentified, which has to be a path for that")
    with scratch_folder(root) as scratch:  # below a root that every engine can open
        sides = []
        for place, name in enumerate(releases):
            require_readable(settings.engine, Path(name))
            side = _side(store, name, loaded, scratch / str(place), ours)
            sides.append(side)
            labels.append(side.release)
            on_progress(f"read {side.release}")
            fitted = fitted_maps(ours.maps, side.concepts, side.relationships, side.replaced)
            targets.append(_targets(codes, side, fitted.maps, ours.analytes))
            on_progress(f"resolved with {side.release}")
        misfits = unfit(fitted.faults, side.concepts, ours.mappings, ours.analytes)
        all_changes = changes(*targets)
        for side in sides:
            named |= _names(store, side, all_changes)
    touched = [(change.vocabulary, change.code) for change in all_changes]
    used = uses(store, touched)
    texts = descriptions(store, touched, ours.maps, read_code_tables(settings.mappings_dir))
    on_progress("counted rows and people")
    described = [
        CodeChange(change, texts.get(code, ""), named, used.get(code, Use()))
        for change, code in zip(all_changes, touched, strict=True)
    ]
    order = list(Kind)
    ordered = sorted(
        described, key=lambda item: (order.index(item.change.kind), -item.use.rows, item.change.vocabulary, item.change.code)
    )
    return Difference(labels[0], labels[1], codes.count(), tuple(ordered), misfits)


def _side(store: TableStore, name: str, loaded: LoadedVocabulary | None, scratch: Path, ours: _Ours) -> _Side:
    if name == LOADED:
        if loaded is None:
            raise VocabularyError("no vocabulary is loaded; name two downloads")
        concepts, relationships = (store.read(Zone.VOCABULARY, table).select(*names) for table, names in _RESOLVED_BY.items())
        return _Side(loaded.release, concepts, relationships, loaded.replaced)
    download = Path(name)
    if not download.exists():
        raise VocabularyError(f"{name}: no such folder or zip; give an Athena download, or the word {LOADED}")
    session, staged = store.session, TableStore(store.session, StoragePaths(scratch, scratch))
    with unpacked(download) as folder:
        release = check_download(folder).release
        named, synonyms = (read_table(session, folder, stem) for stem in ("CONCEPT", "CONCEPT_SYNONYM"))
        newly = equivalents(LOCAL_DIR, named, synonyms, local_constants(ours.mappings))
        concepts, relationships = (_staged(staged, folder, table, newly) for table in _RESOLVED_BY)
    return _Side(release, concepts, relationships, vocabulary_of_each(concepts, retired(LOCAL_DIR) | newly))


def _staged(scratch: TableStore, folder: Path, table: str, newly: Mapping[int, int]) -> DataFrame:
    """The needed part of a table of a download, stored because it is read several times. `newly` are retired in it."""
    stem = table.upper()
    own = with_retired(read_table(scratch.session, LOCAL_DIR, stem), stem, newly)
    rows = read_table(scratch.session, folder, stem).unionByName(own)
    if table == "concept_relationship":
        rows = rows.where(F.col("relationship_id").isin(MAPS_TO, MAPS_TO_VALUE, REPLACED_BY))
    scratch.overwrite(rows, Zone.VOCABULARY, table, {name: TABLES[stem][name] for name in _RESOLVED_BY[table]})
    return scratch.read(Zone.VOCABULARY, table)


def _targets(codes: DataFrame, side: _Side, maps: Sequence[LocalMap], analytes: Analytes) -> dict[Code, CodeTargets]:
    asked = codes.select(F.col("vocabulary").alias("source_vocabulary_id"), F.col("code").alias("source_code"))
    resolved = resolve_codes(asked, side.concepts, side.relationships, approved_maps(codes.sparkSession, maps))
    resolved = with_standard_of_analyte(resolved, side.concepts, analytes.standard)
    return targets_by_code(resolved.where(F.col("target_concept_id") > 0).toArrow().to_pylist())


def _names(store: TableStore, side: _Side, found: Sequence[Change]) -> dict[int, str]:
    mapped = [targets for change in found for targets in (change.old, change.new)]
    wanted = {concept_id for targets in mapped for pair in targets.targets for concept_id in pair if concept_id}
    if not wanted:
        return {}
    asked = store.session.createDataFrame([(concept_id,) for concept_id in sorted(wanted)], "concept_id bigint")
    named = side.concepts.join(F.broadcast(asked), on="concept_id", how="left_semi").select("concept_id", "concept_name")
    return {row["concept_id"]: row["concept_name"] for row in named.toArrow().to_pylist()}
