"""Loads a vocabulary: an Athena download or the packaged demonstration, and the concepts of this project."""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from vocab.athena import OPTIONAL_TABLES, TABLES, read_table, unpacked
from vocab.download import check_download
from vocab.equivalents import equivalents, retired, with_retired

DEMO_DIR = Path(__file__).parent / "demo"
"""The packaged demonstration vocabulary."""

LOCAL_DIR = Path(__file__).parent / "local"
"""Concepts of this project that OMOP has no equivalent for."""

LOCAL_STEMS = ("CONCEPT", "CONCEPT_RELATIONSHIP", "CONCEPT_ANCESTOR", "VOCABULARY")
"""The files of LOCAL_DIR."""

LOADED = TABLES | OPTIONAL_TABLES
"""Every table that a load writes, by the stem of its file."""

Write = Callable[[DataFrame, str, dict[str, str]], None]
"""Stores a table: rows, its name, its columns and types."""


@dataclass(frozen=True)
class VocabularySummary:
    """What was loaded: release, version by vocabulary, table names, and warnings for the operator.

    `replaced` are the retired concepts of this project with their equivalents; this load retired the last `newly_retired`.
    """

    release: str
    vocabularies: dict[str, str]
    tables: tuple[str, ...]
    warnings: tuple[str, ...]
    replaced: dict[int, int]
    newly_retired: int


def load_vocabulary(
    session: SparkSession, download: Path, write: Write, used: Iterable[str] = (), kept: Container[int] = ()
) -> VocabularySummary:
    """Write every table of a download (folder or zip), with the concepts of this project added.

    Concepts of this project that the download has an equivalent for are retired, but for those in `kept`.
    Tables of CDM 5.5 are written too, empty if the download lacks their files; CDM 5.4 does not publish them. The whole
    download is checked before the first table is written; `used` are the vocabularies of the mappings, for its warnings.
    Raises VocabularyError if it is not an Athena download.
    """
    with unpacked(download) as folder:
        found = check_download(folder, used)
        concepts, synonyms = (read_table(session, folder, stem) for stem in ("CONCEPT", "CONCEPT_SYNONYM"))
        newly = equivalents(LOCAL_DIR, concepts, synonyms, kept)
        for stem, schema in LOADED.items():
            rows = read_table(session, folder, stem)
            if stem in LOCAL_STEMS:
                rows = rows.unionByName(with_retired(read_table(session, LOCAL_DIR, stem), stem, newly))
            write(rows, stem.lower(), schema)
    return VocabularySummary(
        release=found.release,
        vocabularies=found.vocabularies,
        tables=tuple(stem.lower() for stem in LOADED),
        warnings=found.warnings,
        replaced=retired(LOCAL_DIR) | newly,
        newly_retired=len(newly),
    )
