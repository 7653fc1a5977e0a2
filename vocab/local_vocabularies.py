"""The vocabularies of our own: `mappings/concepts/vocabularies.csv`, by the name that the mappings use.

The CDM allows 20 characters for the id of a vocabulary. A longer name is declared here with a short one, which stands for
it in SOURCE_TO_CONCEPT_MAP and VOCABULARY; everywhere else the vocabulary keeps the name that the mappings use.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vocab.faults import Faults

VOCABULARIES_FILE = "vocabularies.csv"
"""The file, in the folder of the code maps."""

CDM_VOCABULARY_ID_LENGTH = 20

VOCABULARY_COLUMNS = ("vocabulary_id", "cdm_vocabulary_id", "vocabulary_name", "vocabulary_reference")
"""Columns of the file, in any order."""

VOCABULARY_VERSION = "nhs-omop local map"
"""Version of our vocabularies in VOCABULARY: it tells them from those of the download."""

_LONGEST = {"cdm_vocabulary_id": CDM_VOCABULARY_ID_LENGTH, "vocabulary_name": 255, "vocabulary_reference": 255}


@dataclass(frozen=True)
class LocalVocabulary:
    """A vocabulary of ours: its name in the mappings and in the CDM, what it is, and where it is defined."""

    vocabulary_id: str
    cdm_vocabulary_id: str
    vocabulary_name: str
    vocabulary_reference: str


def read_local_vocabularies(folder: Path, faults: Faults) -> dict[str, LocalVocabulary]:
    """The vocabularies declared in a folder of code maps, by name; none where there is no file. Faults go to `faults`."""
    path = folder / VOCABULARIES_FILE
    if not path.exists():
        return {}
    declared: dict[str, LocalVocabulary] = {}
    taken: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in VOCABULARY_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            faults.add(path.name, 1, f"lacks columns {', '.join(missing)}")
            return {}
        for row in reader:
            values = {name: (row[name] or "").strip() for name in VOCABULARY_COLUMNS}
            wrong = [f"{name} is empty" for name, value in values.items() if not value]
            wrong += [f"{name} is longer than {most} characters" for name, most in _LONGEST.items() if len(values[name]) > most]
            if values["vocabulary_id"] in declared or values["cdm_vocabulary_id"] in taken:
                wrong.append("repeats a vocabulary_id or cdm_vocabulary_id of an earlier row")
            for fault in wrong:
                faults.add(path.name, reader.line_num, fault)
            taken.add(values["cdm_vocabulary_id"])
            declared.setdefault(values["vocabulary_id"], LocalVocabulary(**values))
    return declared


def cdm_vocabulary_rows(declared: Iterable[LocalVocabulary], in_maps: Iterable[str]) -> list[dict[str, str | int]]:
    """Rows of VOCABULARY for what the download does not have: vocabularies declared, and others that maps use.

    `in_maps` are CDM ids. The CDM wants a concept for each vocabulary; ours have none, which 0 says.
    """
    rows = {one.cdm_vocabulary_id: (one.vocabulary_name, one.vocabulary_reference) for one in declared}
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
