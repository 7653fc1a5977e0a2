"""Local code maps: `mappings/concepts/*.csv` in the form of SOURCE_TO_CONCEPT_MAP, with `status` and `reference`.

A map is used only where a row is APPROVED. Target 0 says that the code is known to mean nothing (`not known`, `not
applicable`), so that it does not count as unmapped work.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vocab.codes import lookup_forms
from vocab.errors import VocabularyError

COLUMNS = (
    "source_code",
    "source_concept_id",
    "source_vocabulary_id",
    "source_code_description",
    "target_concept_id",
    "target_vocabulary_id",
    "valid_start_date",
    "valid_end_date",
    "invalid_reason",
    "status",
    "reference",
)
"""Columns of a map file, in any order."""

APPROVED, UNAPPROVED = "APPROVED", "UNAPPROVED"

LOCAL_MAPS_SCHEMA = {
    "file": "string",
    "source_vocabulary_id": "string",
    "source_code": "string",
    "source_code_description": "string",
    "source_concept_id": "bigint",
    "target_concept_id": "bigint",
    "target_vocabulary_id": "string",
    "valid_start_date": "date",
    "valid_end_date": "date",
}
"""Columns of the approved maps as a DataFrame; source_code is in the form in which it is looked up."""

TARGET_FAULTS_SCHEMA = {"file": "string", "problem": "string", "rows": "bigint", "first_line": "bigint"}
"""Columns of `faulty_targets`."""

_ALLOWED = {"invalid_reason": ("", "D", "U"), "status": (APPROVED, UNAPPROVED)}
_LONGEST = {"source_code": 255, "source_vocabulary_id": 50, "source_code_description": 255}


class _Faults:
    """Lines by file and fault: a fault of a whole column is told once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}

    def add(self, file: str, line: int, fault: str) -> None:
        self._lines.setdefault((file, fault), []).append(line)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        return "; ".join(_located(file, fault, len(lines), min(lines)) for (file, fault), lines in self._lines.items())


def _located(file: str, fault: str, rows: int, line: int) -> str:
    return f"{file} line {line}: {fault}" + (f" (and {rows - 1} more)" if rows > 1 else "")


@dataclass(frozen=True)
class LocalMap:
    """One row of a map file: a code, what it maps to, and where it stands."""

    file: str
    line: int
    source_vocabulary_id: str
    source_code: str
    source_code_description: str
    source_concept_id: int
    target_concept_id: int
    target_vocabulary_id: str
    valid_start_date: date
    valid_end_date: date
    status: str


def read_local_maps(folder: Path) -> tuple[LocalMap, ...]:
    """Every valid row of every map file, approved or not, in the order of the files. Invalidated rows are left out.

    Raises VocabularyError that lists every fault by file and line.
    """
    faults = _Faults()
    maps: list[LocalMap] = []
    for path in sorted(folder.glob("*.csv")):
        maps += _read_file(path, faults)
    seen: dict[tuple[str, str, int], LocalMap] = {}
    for one in maps:
        key = (one.source_vocabulary_id, one.source_code, one.target_concept_id)
        if key in seen:
            faults.add(one.file, one.line, "repeats an earlier row")
        seen.setdefault(key, one)
    if faults:
        raise VocabularyError(f"{folder}: local code maps are wrong: {faults}")
    return tuple(maps)


def approved_maps(session: SparkSession, maps: Iterable[LocalMap]) -> DataFrame:
    """One row per approved map (LOCAL_MAPS_SCHEMA plus `line`)."""
    columns = {"line": "bigint"} | LOCAL_MAPS_SCHEMA
    rows = [tuple(getattr(one, name) for name in columns) for one in maps if one.status == APPROVED]
    frame = session.createDataFrame(rows, ", ".join(f"{name} {kind}" for name, kind in columns.items()))
    return frame.withColumn("source_code", lookup_forms(F.col("source_vocabulary_id"), F.col("source_code"))[0])


def source_to_concept_map(approved: DataFrame) -> DataFrame:
    """The approved maps as the CDM table SOURCE_TO_CONCEPT_MAP; a map row there has one target."""
    return approved.select(
        "source_code",
        "source_concept_id",
        "source_vocabulary_id",
        "source_code_description",
        "target_concept_id",
        F.coalesce("target_vocabulary_id", F.lit("None")).alias("target_vocabulary_id"),
        "valid_start_date",
        "valid_end_date",
        F.lit(None).cast("string").alias("invalid_reason"),
    )


def faulty_targets(approved: DataFrame, concepts: DataFrame) -> DataFrame:
    """Targets that no row may have, by file (TARGET_FAULTS_SCHEMA): not in the vocabulary, not standard, or invalid.

    `approved` is that of `approved_maps`, `concepts` the CONCEPT table.
    """
    targets = concepts.select(
        F.col("concept_id").alias("target_concept_id"),
        F.lit(True).alias("known"),
        ((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).alias("usable"),
    )
    looked_up = approved.where(F.col("target_concept_id") != 0).join(targets, on="target_concept_id", how="left")
    problem = F.when(F.col("known").isNull(), F.lit("target is not in the vocabulary")).when(
        ~F.coalesce(F.col("usable"), F.lit(False)), F.lit("target is not a valid standard concept")
    )
    faulty = looked_up.withColumn("problem", problem).where(F.col("problem").isNotNull())
    return (
        faulty.groupBy("file", "problem")
        .agg(F.count(F.lit(1)).alias("rows"), F.min("line").alias("first_line"))
        .orderBy("file", "problem")
        .select(*TARGET_FAULTS_SCHEMA)
    )


def refuse_faulty(faults: Iterable[tuple[str, str, int, int]]) -> None:
    """Raise VocabularyError if `faulty_targets` gave rows: file, problem, rows, first line."""
    listed = [_located(*fault) for fault in faults]
    if listed:
        raise VocabularyError(
            f"local code maps do not fit the vocabulary: {'; '.join(listed)}. Correct the targets or load the right vocabulary"
        )


def _read_file(path: Path, faults: _Faults) -> Iterator[LocalMap]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            faults.add(path.name, 1, f"lacks columns {', '.join(missing)}")
            return
        for row in reader:
            values = {name: (row[name] or "").strip() for name in COLUMNS}
            wrong = _row_faults(values, too_wide=None in row)
            for fault in wrong:
                faults.add(path.name, reader.line_num, fault)
            if not wrong and not values["invalid_reason"]:
                yield _local_map(path.name, reader.line_num, values)


def _row_faults(values: dict[str, str], *, too_wide: bool) -> list[str]:
    ids = ("source_concept_id", "target_concept_id")
    days = ("valid_start_date", "valid_end_date")
    faults = ["has more values than columns"] if too_wide else []
    faults += [f"{name} is empty" for name in ("source_code", "source_vocabulary_id", "reference") if not values[name]]
    faults += [f"{name} is longer than {most} characters" for name, most in _LONGEST.items() if len(values[name]) > most]
    faults += [f"{name} is not a concept id" for name in ids if not values[name].isdecimal()]
    faults += [f"{name} is not a date like 1970-01-01" for name in days if _date(values[name]) is None]
    faults += [
        f"{name} is none of {', '.join(one or 'empty' for one in allowed)}"
        for name, allowed in _ALLOWED.items()
        if values[name] not in allowed
    ]
    return faults


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _local_map(file: str, line: int, values: dict[str, str]) -> LocalMap:
    return LocalMap(
        file=file,
        line=line,
        source_vocabulary_id=values["source_vocabulary_id"],
        source_code=values["source_code"],
        source_code_description=values["source_code_description"],
        source_concept_id=int(values["source_concept_id"]),
        target_concept_id=int(values["target_concept_id"]),
        target_vocabulary_id=values["target_vocabulary_id"],
        valid_start_date=date.fromisoformat(values["valid_start_date"]),
        valid_end_date=date.fromisoformat(values["valid_end_date"]),
        status=values["status"],
    )
