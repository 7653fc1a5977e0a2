"""Loads a vocabulary: an Athena download or the packaged demonstration, and the concepts of this project."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from vocab.athena import OPTIONAL_TABLES, TABLES, read_table, unpacked
from vocab.download import check_download

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
    """What was loaded: release, version by vocabulary, table names, and warnings for the operator."""

    release: str
    vocabularies: dict[str, str]
    tables: tuple[str, ...]
    warnings: tuple[str, ...]


def load_vocabulary(session: SparkSession, download: Path, write: Write, used: Iterable[str] = ()) -> VocabularySummary:
    """Write every table of a download (folder or zip), with the concepts of this project added.

    Tables of CDM 5.5 are written too, empty if the download lacks their files; CDM 5.4 does not publish them. The whole
    download is checked before the first table is written; `used` are the vocabularies of the mappings, for its warnings.
    Raises VocabularyError if it is not an Athena download.
    """
    with unpacked(download) as folder:
        found = check_download(folder, used)
        for stem, schema in LOADED.items():
            rows = read_table(session, folder, stem)
            if stem in LOCAL_STEMS:
                rows = rows.unionByName(read_table(session, LOCAL_DIR, stem))
            write(rows, stem.lower(), schema)
    return VocabularySummary(found.release, found.vocabularies, tuple(stem.lower() for stem in LOADED), found.warnings)
