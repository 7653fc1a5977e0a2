"""Loading a vocabulary into the lakehouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.zones import Zone
from pipelines.engine import open_session
from pipelines.progress import OnProgress, ignore_progress
from pipelines.run_inputs import vocabulary_path
from pipelines.settings import Settings
from pipelines.storage.documents import digest_of_files, read_document, write_document
from pipelines.storage.tables import TableStore
from vocab.athena import TABLES, unpacked
from vocab.load import DEMO_DIR, LOCAL_DIR, load_vocabulary
from vocab.local_maps import LocalMap, local_vocabulary_rows, source_to_concept_map
from vocab.local_vocabularies import VOCABULARY_VERSION

SOURCE_TO_CONCEPT_MAP = "source_to_concept_map"

MAPS_FOLDER = "concepts"
"""The folder of local code maps below that of the mappings."""


@dataclass(frozen=True)
class Loaded:
    """The vocabulary in use: its release, the version of each vocabulary, and whether this load changed anything."""

    release: str
    vocabularies: dict[str, str]
    warnings: tuple[str, ...]
    is_new: bool


def store_of(session: SparkSession, settings: Settings) -> TableStore:
    """The tables of a lakehouse, read with a session."""
    return TableStore(session, settings.storage.restricted, settings.storage.deidentified)


def load(settings: Settings, download: Path | None = None, on_progress: OnProgress = ignore_progress) -> Loaded:
    """Load a download, the configured one, or the demonstration.

    While it is being loaded no vocabulary counts as loaded, so that a run never meets half of one. Raises VocabularyError.
    """
    chosen = download or settings.vocabulary.athena_dir or DEMO_DIR
    place = vocabulary_path(settings)
    with unpacked(chosen) as folder:
        digest = _digest(folder)
        known = read_document(place)
        if known.get("digest") == digest:
            return Loaded(known["release"], known["vocabularies"], (), is_new=False)
        with open_session(settings.engine) as session:
            store = store_of(session, settings)

            def write(rows: DataFrame, name: str, schema: dict[str, str]) -> None:
                place.unlink(missing_ok=True)
                store.overwrite(rows, Zone.VOCABULARY, name, schema)
                on_progress(name)

            summary = load_vocabulary(session, folder, write)
    write_document(place, {"release": summary.release, "vocabularies": summary.vocabularies, "digest": digest})
    return Loaded(summary.release, summary.vocabularies, summary.warnings, is_new=True)


def store_local_maps(store: TableStore, settings: Settings, maps: Sequence[LocalMap], approved: DataFrame) -> None:
    """Put the approved maps into SOURCE_TO_CONCEPT_MAP, and into VOCABULARY what vocabularies they are of.

    `approved` is that of `approved_maps`. VOCABULARY stays as it is where it already says so. Raises VocabularyError.
    """
    table = cdm_tables(settings.cdm_version)[SOURCE_TO_CONCEPT_MAP]
    schema = {column.name: column.type for column in table.columns}
    store.overwrite(source_to_concept_map(approved), Zone.VOCABULARY, SOURCE_TO_CONCEPT_MAP, schema)
    known = store.read(Zone.VOCABULARY, "vocabulary").select(*TABLES["VOCABULARY"]).toArrow().to_pylist()
    kept = [row for row in known if row["vocabulary_version"] != VOCABULARY_VERSION]
    names = {row["vocabulary_id"] for row in kept}
    ours = local_vocabulary_rows(settings.mappings_dir / MAPS_FOLDER, maps)
    wanted = kept + [row for row in ours if row["vocabulary_id"] not in names]
    if sorted(known, key=itemgetter("vocabulary_id")) != sorted(wanted, key=itemgetter("vocabulary_id")):
        types = ", ".join(f"{name} {kind}" for name, kind in TABLES["VOCABULARY"].items())
        rows = [tuple(row[name] for name in TABLES["VOCABULARY"]) for row in wanted]
        store.overwrite(store.session.createDataFrame(rows, types), Zone.VOCABULARY, "vocabulary", TABLES["VOCABULARY"])


def _digest(folder: Path) -> str:
    files = {path.name.upper(): path for path in folder.iterdir() if path.suffix.casefold() == ".csv"}
    return digest_of_files(files | {f"local {path.name}": path for path in LOCAL_DIR.glob("*.csv")})
