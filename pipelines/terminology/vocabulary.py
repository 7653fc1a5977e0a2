"""Loads a vocabulary into the lakehouse."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.column_notes import vocabulary_description
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.engine import open_session
from pipelines.engine_settings import EngineSettings
from pipelines.mapping.analytes import load_analytes
from pipelines.mapping.spec import Mapping as SourceMapping
from pipelines.mapping.spec import load_mappings
from pipelines.progress import OnProgress, ignore_progress
from pipelines.run_lock import run_lock
from pipelines.settings import Environment, Settings, storage_paths
from pipelines.storage.documents import Document, Lost, digest_of_files
from pipelines.storage.files import AnyPath, remove
from pipelines.storage.tables import TableStore
from pipelines.terminology.fit import Unfit, fitted_maps, unfit, vocabulary_of_each
from pipelines.terminology.meaning import concepts_of, faults_of_maps, local_constants
from vocab.athena import TABLES, unpacked
from vocab.errors import VocabularyError
from vocab.load import DEMO_DIR, LOCAL_DIR, load_vocabulary
from vocab.local_maps import (
    LocalMap,
    local_vocabulary_rows,
    read_local_maps,
    with_equivalents,
    without_faulty,
)
from vocab.local_vocabularies import VOCABULARY_VERSION
from vocab.schemas import ddl_of

log = logging.getLogger(__name__)

_DEMO_MARK = "(demo)"
"""How the release of the packaged demo vocabulary ends."""

DEMO_REFUSED = (
    "the demo vocabulary knows a few hundred codes and is refused in production: download the vocabularies from "
    "https://athena.ohdsi.org, then: nhs-omop vocab load DIR"
)

MAPS_FOLDER = "concepts"
"""The folder of local code maps below the mappings folder."""


class LoadedVocabulary(Document):
    """Which vocabulary is loaded: its release, the version of each vocabulary, and the digest of the files.

    `replaced` has the retired concepts of this project, each with its equivalent and the equivalent's vocabulary.
    """

    MODE: ClassVar[int] = 0o644
    LOST: ClassVar[Lost] = Lost("load the vocabulary again: nhs-omop vocab load DIR", stops=False)

    release: str
    vocabularies: dict[str, str]
    digest: str
    replaced: dict[int, tuple[int, str]] = Field(default_factory=dict)

    @property
    def is_demo(self) -> bool:
        """Whether it is the packaged demo vocabulary, of this version of the software or another."""
        return self.release.endswith(_DEMO_MARK)


def vocabulary_path(settings: Settings) -> AnyPath:
    """The document that says which vocabulary is loaded."""
    return settings.storage.deidentified / "vocabulary" / "loaded.json"


@dataclass(frozen=True)
class Loaded:
    """The vocabulary in use: its release, the version of each vocabulary, and whether this load changed anything.

    `retired` and `open_faults` are what a new load did and found: how many concepts of this project it retired because the
    download has an equivalent, and how many local maps mean something else than their codes. `unfit` is what no longer fits.
    """

    release: str
    vocabularies: dict[str, str]
    warnings: tuple[str, ...]
    is_new: bool
    retired: int = 0
    open_faults: int = 0
    unfit: tuple[Unfit, ...] = ()


def store_of(session: SparkSession, settings: Settings) -> TableStore:
    """The tables of a lakehouse, read with a session."""
    return TableStore(session, storage_paths(settings))


def require_readable(engine: EngineSettings, download: Path) -> None:
    """Raises VocabularyError for a zip where other machines read it: it would be unpacked on this one."""
    if not engine.is_here and download.is_file():
        raise VocabularyError(
            f"{download}: a zip is unpacked on this machine, and the machines of the engine do not see that; unpack it into a "
            "folder that they open under the same path, and give the folder"
        )


def load(settings: Settings, download: Path | None = None, on_progress: OnProgress = ignore_progress) -> Loaded:
    """Load `download`, else the configured download, else the demonstration.

    While loading, no vocabulary counts as loaded, so that a run never reads a partial one. Raises VocabularyError if the
    download cannot be used or would be the demonstration in production, RunUnderWayError if another command is writing,
    ContractError if the mappings, whose vocabularies the download should have, cannot be read.
    """
    chosen = download or settings.vocabulary.athena_dir or DEMO_DIR
    if settings.environment is Environment.PRODUCTION and chosen.resolve() == DEMO_DIR.resolve():
        raise VocabularyError(DEMO_REFUSED)
    require_readable(settings.engine, chosen)
    place = vocabulary_path(settings)
    with run_lock(settings.storage.restricted, "vocab load"), unpacked(chosen) as folder:
        digest = _digest(folder)
        known = LoadedVocabulary.read(place)
        if known and known.digest == digest:
            return Loaded(known.release, known.vocabularies, (), is_new=False)
        mappings = load_mappings(settings.mappings_dir, load_contracts(settings.mappings_dir, settings.run.sources))
        used = frozenset[str]().union(*(mapping.vocabularies for mapping in mappings.values()))
        with open_session(settings.engine) as session:
            store = store_of(session, settings)

            def write(rows: DataFrame, name: str, schema: dict[str, str]) -> None:
                remove(place)
                store.overwrite(rows, Zone.VOCABULARY, name, schema, described=vocabulary_description(name))
                on_progress(name)

            summary = load_vocabulary(session, folder, write, used, local_constants(mappings.values()))
            folder_of_maps = settings.mappings_dir / MAPS_FOLDER
            maps = read_local_maps(folder_of_maps)
            concepts, relationships = (store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_relationship"))
            replaced = vocabulary_of_each(concepts, summary.replaced)
            fitted = fitted_maps(maps, concepts, relationships, replaced)
            misfits = unfit(fitted.faults, concepts, mappings.values(), load_analytes(settings.mappings_dir))
            targets = concepts_of(store, (row.target_concept_id for row in fitted.maps))
    known = LoadedVocabulary(release=summary.release, vocabularies=summary.vocabularies, digest=digest, replaced=replaced)
    known.write(place)
    faults = faults_of_maps(targets, folder_of_maps, fitted.maps)
    return Loaded(
        release=known.release,
        vocabularies=known.vocabularies,
        warnings=summary.warnings,
        is_new=True,
        retired=summary.newly_retired,
        open_faults=len(faults),
        unfit=misfits,
    )


def usable_local_maps(
    store: TableStore,
    settings: Settings,
    maps: Sequence[LocalMap],
    mappings: Mapping[str, SourceMapping],
    loaded: LoadedVocabulary,
) -> tuple[LocalMap, ...]:
    """The local maps that fit the loaded vocabulary. Those of vocabularies that no enabled source uses need not.

    Maps to retired concepts of this project lead to their equivalents; a target that the vocabulary has replaced by one
    standard concept is that concept. Maps that mean something else than their codes are used, with a warning. Raises
    VocabularyError where a map that is used has a target which the vocabulary does not have as it should.
    """
    moved = sum(new != old for new, old in zip(with_equivalents(maps, loaded.replaced), maps, strict=True))
    if moved:
        log.warning(
            "%d local maps lead to retired concepts of this project; their equivalents in the vocabulary are used", moved
        )
    concepts, relationships = (store.read(Zone.VOCABULARY, name) for name in ("concept", "concept_relationship"))
    fitted = fitted_maps(maps, concepts, relationships, loaded.replaced)
    in_use = frozenset[str]().union(*(mapping.vocabularies for mapping in mappings.values()))
    usable = without_faulty(fitted.maps, fitted.faults, in_use)
    left_out = len(maps) - len(usable)
    if left_out:
        log.warning("%d local maps of codes that no enabled source uses do not fit the vocabulary; they are left out", left_out)
    targets = concepts_of(store, (row.target_concept_id for row in usable))
    used = [row for row in usable if row.source_vocabulary_id in in_use]
    warn_of_open_faults(len(faults_of_maps(targets, settings.mappings_dir / MAPS_FOLDER, used)))
    return usable


def warn_of_open_faults(faults: int) -> None:
    """Say how many local maps mean something else than their codes, and how to see them."""
    if faults:
        log.warning("%d local maps say more than their codes, and nobody reviewed them; see: nhs-omop vocab check", faults)


def rows_with_local_vocabularies(
    store: TableStore, settings: Settings, maps: Sequence[LocalMap]
) -> list[dict[str, Any]] | None:
    """The rows of VOCABULARY with the vocabularies that approved local maps are of; None where it already names them."""
    known = store.read(Zone.VOCABULARY, "vocabulary").select(*TABLES["VOCABULARY"]).toArrow().to_pylist()
    kept = [row for row in known if row["vocabulary_version"] != VOCABULARY_VERSION]
    names = {row["vocabulary_id"] for row in kept}
    ours = local_vocabulary_rows(settings.mappings_dir / MAPS_FOLDER, maps)
    wanted = kept + [row for row in ours if row["vocabulary_id"] not in names]
    by_id = itemgetter("vocabulary_id")
    return None if sorted(known, key=by_id) == sorted(wanted, key=by_id) else wanted


def store_local_vocabularies(store: TableStore, settings: Settings, maps: Sequence[LocalMap]) -> None:
    """Name in VOCABULARY the vocabularies that approved local maps are of. It stays as it is where it already names them."""
    wanted = rows_with_local_vocabularies(store, settings, maps)
    if wanted is not None:
        rows = [tuple(row[name] for name in TABLES["VOCABULARY"]) for row in wanted]
        frame = store.session.createDataFrame(rows, ddl_of(TABLES["VOCABULARY"]))
        store.overwrite(
            frame, Zone.VOCABULARY, "vocabulary", TABLES["VOCABULARY"], described=vocabulary_description("vocabulary")
        )


def _digest(folder: Path) -> str:
    files = {path.name.upper(): path for path in folder.iterdir() if path.suffix.casefold() == ".csv"}
    return digest_of_files(files | {f"local {path.name}": path for path in LOCAL_DIR.glob("*.csv")})
