"""Reads and writes files of Usagi, the mapping tool of OHDSI: writes the work list and reads what people approved.

Usagi has one row per code and target concept, and keeps columns whose names begin with ADD_INFO unchanged. One of them holds
the vocabulary of the code.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vocab.candidates import Candidate
from vocab.concepts import is_concept_id
from vocab.errors import VocabularyError

VOCABULARY_COLUMN = "ADD_INFO:vocabulary"

USAGI_COLUMNS = (
    "sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds", VOCABULARY_COLUMN, "ADD_INFO:source",
    "matchScore", "mappingStatus", "equivalence", "statusSetBy", "statusSetOn", "conceptId", "conceptName", "domainId",
    "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
"""Columns of a Usagi file."""

MAPS_TO = "MAPS_TO"
APPROVED, UNCHECKED = "APPROVED", "UNCHECKED"

_NEEDED = ("sourceCode", "sourceName", "mappingStatus", "conceptId")
_MILLISECONDS = 1000


@dataclass(frozen=True)
class UsagiCode:
    """A code to map: its description, its sources, how often it is used, and candidate concepts."""

    vocabulary: str
    code: str
    description: str
    sources: tuple[str, ...]
    frequency: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Approval:
    """One approved row: a code and its target concept; target 0 means that the code maps to no concept on purpose."""

    vocabulary: str
    code: str
    description: str
    target_concept_id: int
    approved_by: str
    approved_on: str
    line: int


@dataclass(frozen=True)
class Approvals:
    """The approved rows of a Usagi file, and the number of rows left out by reason."""

    rows: tuple[Approval, ...]
    left_out: dict[str, int]


def write_usagi(path: Path, codes: Iterable[UsagiCode]) -> int:
    """Write codes as a Usagi file, with the most similar candidate as unchecked target. Gives the number of codes.

    The file is for its owner only, whatever the umask, also where it was there: codes may be texts of a provider.
    """
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.is_file():
            path.chmod(0o600)
        writer = csv.DictWriter(file, USAGI_COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for item in codes:
            best = item.candidates[0] if item.candidates else None
            writer.writerow(
                {
                    "sourceCode": item.code,
                    "sourceName": item.description or item.code,
                    "sourceFrequency": item.frequency,
                    "sourceAutoAssignedConceptIds": ";".join(str(candidate.concept_id) for candidate in item.candidates),
                    VOCABULARY_COLUMN: item.vocabulary,
                    "ADD_INFO:source": ";".join(item.sources),
                    "matchScore": f"{best.score / 100:.2f}" if best else "0",
                    "mappingStatus": UNCHECKED,
                    "equivalence": UNCHECKED,
                    "conceptId": best.concept_id if best else 0,
                    "conceptName": best.name if best else "Unmapped",
                    "domainId": best.domain if best else "",
                    "mappingType": MAPS_TO,
                }
            )
            written += 1
    return written


def read_usagi(path: Path, vocabulary: str | None = None) -> Approvals:
    """The approved rows of a file that Usagi saved. `vocabulary` is used for rows that do not name one.

    Raises VocabularyError if the file lacks a column, a concept id is not a number or a row has no vocabulary.
    """
    rows: list[Approval] = []
    left_out: Counter[str] = Counter()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise VocabularyError(f"{path}: not a file that Usagi saved: it lacks columns {', '.join(missing)}")
            for row in reader:
                reason = _reason_to_leave(row)
                if reason:
                    left_out[reason] += 1
                else:
                    rows.append(_approval(path, reader.line_num, row, vocabulary))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VocabularyError(f"{path}: cannot be read as a CSV file in UTF-8 ({type(error).__name__})") from error
    return Approvals(tuple(rows), dict(left_out))


def _reason_to_leave(row: dict[str, str]) -> str:
    if (row["mappingStatus"] or "").strip().upper() != APPROVED:
        return "not approved"
    if (row.get("mappingType") or MAPS_TO).strip().upper() != MAPS_TO:
        return "other than MAPS_TO: a local map has targets only"
    return ""


def _approval(path: Path, line: int, row: dict[str, str], vocabulary: str | None) -> Approval:
    named = (row.get(VOCABULARY_COLUMN) or "").strip() or (vocabulary or "")
    target, code = (row["conceptId"] or "").strip(), (row["sourceCode"] or "").strip()
    if not named:
        raise VocabularyError(f"{path} line {line}: no vocabulary in {VOCABULARY_COLUMN}; give it with --vocabulary")
    if not is_concept_id(target) or not code:
        raise VocabularyError(f"{path} line {line}: sourceCode is empty or conceptId is not a concept id")
    return Approval(
        vocabulary=named,
        code=code,
        description=(row["sourceName"] or "").strip(),
        target_concept_id=int(target),
        approved_by=(row.get("statusSetBy") or "").strip(),
        approved_on=_day((row.get("statusSetOn") or "").strip()),
        line=line,
    )


def _day(milliseconds: str) -> str:
    """The day of a time in milliseconds since 1970, as Usagi writes it; empty if there is none."""
    if not milliseconds.isdecimal():
        return ""
    return datetime.fromtimestamp(int(milliseconds) / _MILLISECONDS, UTC).date().isoformat()
