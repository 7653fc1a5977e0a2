"""Reads the local vocabularies, `mappings/concepts/vocabularies.csv`, by the name that the mappings use.

The CDM allows 20 characters for the id of a vocabulary. A longer name is declared here with a short one, which replaces it
in SOURCE_TO_CONCEPT_MAP and VOCABULARY; everywhere else the vocabulary keeps the name that the mappings use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vocab.faults import Faults

VOCABULARIES_FILE = "vocabularies.csv"
"""Name of the file in the folder of the code maps."""

CDM_VOCABULARY_ID_LENGTH = 20

VOCABULARY_COLUMNS = ("vocabulary_id", "cdm_vocabulary_id", "vocabulary_name", "vocabulary_reference")
"""Columns of the file, in any order."""

VOCABULARY_VERSION = "nhs-omop local map"
"""Version of local vocabularies in VOCABULARY, which distinguishes them from those of the download."""

_LONGEST = {"cdm_vocabulary_id": CDM_VOCABULARY_ID_LENGTH, "vocabulary_name": 255, "vocabulary_reference": 255}


@dataclass(frozen=True)
class LocalVocabulary:
    """One local vocabulary: its name in the mappings, its short id in the CDM, its title, and where it is defined."""

    vocabulary_id: str
    cdm_vocabulary_id: str
    vocabulary_name: str
    vocabulary_reference: str


def read_local_vocabularies(folder: Path, faults: Faults) -> dict[str, LocalVocabulary]:
    """The vocabularies declared in a folder of code maps, by name; none if there is no file. Faults are added to `faults`."""
    path = folder / VOCABULARIES_FILE
    if not path.exists():
        return {}
    declared: dict[str, LocalVocabulary] = {}
    taken: set[str] = set()
    for line, row in faults.rows_of(path, VOCABULARY_COLUMNS):
        values = {name: (row[name] or "").strip() for name in VOCABULARY_COLUMNS}
        wrong = [f"{name} is empty" for name, value in values.items() if not value]
        wrong += [f"{name} is longer than {most} characters" for name, most in _LONGEST.items() if len(values[name]) > most]
        if values["vocabulary_id"] in declared or values["cdm_vocabulary_id"] in taken:
            wrong.append("repeats a vocabulary_id or cdm_vocabulary_id of an earlier row")
        for fault in wrong:
            faults.add(path.name, line, fault)
        taken.add(values["cdm_vocabulary_id"])
        declared.setdefault(values["vocabulary_id"], LocalVocabulary(**values))
    return declared


def cdm_vocabulary_rows(declared: Iterable[LocalVocabulary], in_maps: Iterable[str]) -> list[dict[str, str | int]]:
    """Rows of VOCABULARY for the vocabularies that the download lacks: declared ones, and others that maps use.

    `in_maps` are CDM ids. The CDM wants a concept for each vocabulary; local vocabularies have none, so it is 0.
    """
    rows = {known.cdm_vocabulary_id: (known.vocabulary_name, known.vocabulary_reference) for known in declared}
    rows = {name: (name, "local code map") for name in in_maps} | rows
    return [
        {
            "vocabulary_id": name,
            "vocabulary_name": title,
            "vocabulary_reference": reference,
            "vocabulary_version": VOCABULARY_VERSION,
            "vocabulary_concept_id": 0,
        }
        for name, (title, reference) in sorted(rows.items())
    ]
