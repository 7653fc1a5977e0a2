"""Files of Usagi, the mapping tool of OHDSI: the work list for it, and what people approved in it.

Usagi keeps one row per code and target concept, and carries columns that begin with ADD_INFO through unchanged. The
vocabulary of a code travels in one of them.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vocab.candidates import Candidate
from vocab.errors import VocabularyError

VOCABULARY_COLUMN = "ADD_INFO:vocabulary"

USAGI_COLUMNS = (
    "sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds", VOCABULARY_COLUMN, "ADD_INFO:source",
    "matchScore", "mappingStatus", "equivalence", "statusSetBy", "statusSetOn", "conceptId", "conceptName", "domainId",
    "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
"""Columns of a file that Usagi saves and opens."""

MAPS_TO = "MAPS_TO"
APPROVED, UNCHECKED = "APPROVED", "UNCHECKED"

_NEEDED = ("sourceCode", "sourceName", "mappingStatus", "conceptId")
_MILLISECONDS = 1000


@dataclass(frozen=True)
class UsagiCode:
    """A code for somebody to map: what it means, where it comes from, how often it is used, and what may fit."""

    vocabulary: str
    code: str
    description: str
    sources: tuple[str, ...]
    frequency: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Approval:
    """A target that somebody approved for a code; 0 says that the code means nothing."""

    vocabulary: str
    code: str
    description: str
    target_concept_id: int
    approved_by: str
    approved_on: str
    line: int


@dataclass(frozen=True)
class Approvals:
    """The approved rows of a Usagi file, and how many rows were left out for which reason."""

    rows: tuple[Approval, ...]
    left_out: dict[str, int]


def write_usagi(path: Path, codes: Iterable[UsagiCode]) -> int:
    """Write codes as a file that Usagi opens, the likest candidate as an unchecked target; the number of codes."""
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, USAGI_COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for one in codes:
            best = one.candidates[0] if one.candidates else None
            writer.writerow(
                {
                    "sourceCode": one.code,
                    "sourceName": one.description or one.code,
                    "sourceFrequency": one.frequency,
                    "sourceAutoAssignedConceptIds": ";".join(str(some.concept_id) for some in one.candidates),
                    VOCABULARY_COLUMN: one.vocabulary,
                    "ADD_INFO:source": ";".join(one.sources),
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
    """The approved rows of a file that Usagi saved. `vocabulary` is that of codes whose row does not name one.

    Raises VocabularyError where the file lacks a column, a concept id is no number or a row has no vocabulary.
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
    if not target.isdecimal() or not code:
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
    """The day of a time as Usagi writes it, milliseconds since 1970; empty where there is none."""
    if not milliseconds.isdecimal():
        return ""
    return datetime.fromtimestamp(int(milliseconds) / _MILLISECONDS, UTC).date().isoformat()
