"""Local code maps: `mappings/concepts/*.csv` in the form of SOURCE_TO_CONCEPT_MAP, with `status` and `reference`.

A map is used only where a row is APPROVED. Target 0 says that the code is known to mean nothing (`not known`, `not
applicable`), so that it does not count as unmapped work. `vocabularies.csv` in the same folder declares the vocabularies.
"""

import csv
import re
import shutil
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vocab.codes import lookup_forms
from vocab.errors import VocabularyError
from vocab.faults import Faults
from vocab.local_vocabularies import (
    CDM_VOCABULARY_ID_LENGTH,
    VOCABULARIES_FILE,
    LocalVocabulary,
    cdm_vocabulary_rows,
    read_local_vocabularies,
)

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
    "cdm_vocabulary_id": "string",
    "source_code": "string",
    "source_code_description": "string",
    "source_concept_id": "bigint",
    "target_concept_id": "bigint",
    "target_vocabulary_id": "string",
    "valid_start_date": "date",
    "valid_end_date": "date",
}
"""Columns of the approved maps as a DataFrame; source_code is in the form in which it is looked up."""

TARGET_FAULTS_SCHEMA = {"file": "string", "line": "bigint", "source_vocabulary_id": "string", "problem": "string"}
"""Columns of `faulty_targets`."""

CDM_CODE_LENGTH = 50
"""Characters that the CDM allows for a source code."""

CUT_MARK_LENGTH = 9
"""Characters at the end of a code that was cut: a tilde and the beginning of the SHA-256 of the whole."""

_ALWAYS = ("1970-01-01", "2099-12-31")

_ALLOWED = {"invalid_reason": ("", "D", "U"), "status": (APPROVED, UNAPPROVED)}
_LONGEST = {"source_code": 255, "source_vocabulary_id": 50, "source_code_description": 255}


@dataclass(frozen=True)
class LocalMap:
    """One row of a map file: a code, what it maps to, and where it stands. The CDM knows its vocabulary by a short id."""

    file: str
    line: int
    source_vocabulary_id: str
    cdm_vocabulary_id: str
    source_code: str
    source_code_description: str
    source_concept_id: int
    target_concept_id: int
    target_vocabulary_id: str
    valid_start_date: date
    valid_end_date: date
    status: str
    reference: str


def map_files(folder: Path) -> list[Path]:
    """The map files of a folder, in the order in which they are read."""
    return sorted(path for path in folder.glob("*.csv") if path.name != VOCABULARIES_FILE)


def local_vocabulary_rows(folder: Path, maps: Iterable[LocalMap]) -> list[dict[str, str | int]]:
    """Rows of VOCABULARY for the vocabularies of a folder: those declared, and undeclared ones that a map uses.

    Raises VocabularyError where their declaration has a fault.
    """
    return cdm_vocabulary_rows(declared_vocabularies(folder).values(), {one.cdm_vocabulary_id for one in maps})


def declared_vocabularies(folder: Path) -> dict[str, LocalVocabulary]:
    """The vocabularies that a folder declares, by the name that the mappings use. Raises VocabularyError."""
    faults = Faults()
    declared = read_local_vocabularies(folder, faults)
    if faults:
        raise VocabularyError(f"{folder}: {faults}")
    return declared


def read_local_maps(folder: Path) -> tuple[LocalMap, ...]:
    """Every valid row of every map file, approved or not, in the order of the files. Invalidated rows are left out.

    Raises VocabularyError that lists every fault by file and line.
    """
    faults = Faults()
    declared = read_local_vocabularies(folder, faults)
    maps: list[LocalMap] = []
    for path in map_files(folder):
        maps += _read_file(path, declared, faults)
    seen: dict[tuple[str, str, int], LocalMap] = {}
    for one in maps:
        key = (one.source_vocabulary_id, one.source_code, one.target_concept_id)
        if key in seen:
            faults.add(one.file, one.line, "repeats an earlier row")
        seen.setdefault(key, one)
    if faults:
        raise VocabularyError(f"{folder}: local code maps are wrong: {faults}")
    return tuple(maps)


@dataclass(frozen=True)
class ApprovedTarget:
    """A target that somebody approved for a code, to be added to the map file of its vocabulary."""

    vocabulary: str
    code: str
    description: str
    target_concept_id: int
    target_vocabulary: str
    reference: str


def with_targets(folder: Path, targets: Iterable[ApprovedTarget]) -> dict[str, int]:
    """Add approved targets to the map files of a folder, all or none; the rows added to each file.

    A vocabulary without a file gets one. Raises VocabularyError where the files would be wrong with them; nothing is
    changed then.
    """
    files = {one.source_vocabulary_id: one.file for one in read_local_maps(folder)}
    added: dict[str, list[ApprovedTarget]] = {}
    for one in targets:
        added.setdefault(files.get(one.vocabulary) or _file_name(one.vocabulary), []).append(one)
    with tempfile.TemporaryDirectory(prefix="nhs-omop-maps-") as scratch:
        trial = Path(shutil.copytree(folder, Path(scratch) / folder.name))
        for name, rows in added.items():
            _append(trial / name, rows)
        read_local_maps(trial)
        for name in added:
            unfinished = folder / f".{name}.part"
            shutil.copyfile(trial / name, unfinished)
            unfinished.replace(folder / name)
    return {name: len(rows) for name, rows in added.items()}


def _file_name(vocabulary: str) -> str:
    return re.sub("[^a-z0-9]+", "_", vocabulary.lower()).strip("_") + ".csv"


def _append(path: Path, targets: Iterable[ApprovedTarget]) -> None:
    columns: Sequence[str] = COLUMNS
    ends_in_line = True
    if path.exists():
        content = path.read_text(encoding="utf-8-sig")
        columns, ends_in_line = next(csv.reader(content.splitlines())), content.endswith("\n")
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        if file.tell() == 0:
            writer.writeheader()
        elif not ends_in_line:
            file.write("\n")
        for one in targets:
            writer.writerow(
                {
                    "source_code": one.code,
                    "source_concept_id": 0,
                    "source_vocabulary_id": one.vocabulary,
                    "source_code_description": one.description,
                    "target_concept_id": one.target_concept_id,
                    "target_vocabulary_id": one.target_vocabulary,
                    "valid_start_date": _ALWAYS[0],
                    "valid_end_date": _ALWAYS[1],
                    "status": APPROVED,
                    "reference": one.reference,
                }
            )


def approved_maps(session: SparkSession, maps: Iterable[LocalMap]) -> DataFrame:
    """One row per approved map (LOCAL_MAPS_SCHEMA plus `line`)."""
    columns = {"line": "bigint"} | LOCAL_MAPS_SCHEMA
    rows = [tuple(getattr(one, name) for name in columns) for one in maps if one.status == APPROVED]
    frame = session.createDataFrame(rows, ", ".join(f"{name} {kind}" for name, kind in columns.items()))
    return frame.withColumn("source_code", lookup_forms(F.col("source_vocabulary_id"), F.col("source_code"))[0])


def source_to_concept_map(approved: DataFrame) -> DataFrame:
    """The approved maps as the CDM table SOURCE_TO_CONCEPT_MAP; a map row there has one target.

    A vocabulary has its short id there. A code of more than the 50 characters that the CDM allows is cut, with a mark of
    the whole text at its end, so that no two codes become one; the whole text stands in an empty description.
    """
    code = F.col("source_code")
    mark = F.concat(F.lit("~"), F.substring(F.sha2(code, 256), 1, CUT_MARK_LENGTH - 1))
    cut = F.concat(F.substring(code, 1, CDM_CODE_LENGTH - CUT_MARK_LENGTH), mark)
    description = F.coalesce(F.nullif("source_code_description", F.lit("")), code)
    return approved.select(
        F.when(F.char_length(code) > CDM_CODE_LENGTH, cut).otherwise(code).alias("source_code"),
        "source_concept_id",
        F.col("cdm_vocabulary_id").alias("source_vocabulary_id"),
        description.alias("source_code_description"),
        "target_concept_id",
        F.coalesce("target_vocabulary_id", F.lit("None")).alias("target_vocabulary_id"),
        "valid_start_date",
        "valid_end_date",
        F.lit(None).cast("string").alias("invalid_reason"),
    )


def faulty_targets(approved: DataFrame, concepts: DataFrame) -> DataFrame:
    """Rows with a target that none may have (TARGET_FAULTS_SCHEMA): not in the vocabulary, not standard, or invalid.

    `approved` is that of `approved_maps`, `concepts` the CONCEPT table.
    """
    targets = concepts.select(
        F.col("concept_id").alias("target_concept_id"),
        F.lit(True).alias("known"),
        ((F.col("standard_concept") == "S") & F.col("invalid_reason").isNull()).alias("usable"),
    )
    with_concepts = approved.where(F.col("target_concept_id") != 0).join(targets, on="target_concept_id", how="left")
    problem = F.when(F.col("known").isNull(), F.lit("target is not in the vocabulary")).when(
        ~F.coalesce(F.col("usable"), F.lit(False)), F.lit("target is not a valid standard concept")
    )
    faulty = with_concepts.withColumn("problem", problem).where(F.col("problem").isNotNull())
    return faulty.orderBy("file", "line").select(*TARGET_FAULTS_SCHEMA)


@dataclass(frozen=True)
class TargetFault:
    """A row of `faulty_targets`."""

    file: str
    line: int
    source_vocabulary_id: str
    problem: str


def without_faulty(maps: Sequence[LocalMap], faulty: Iterable[TargetFault], in_use: Container[str]) -> tuple[LocalMap, ...]:
    """The maps that a run can use: those without the faulty rows of vocabularies that are not in use.

    A vocabulary need not hold the targets of codes that no source delivers. Raises VocabularyError with the rows of
    vocabularies in use, because their codes would lose the concept that somebody approved.
    """
    left_out: set[tuple[str, int]] = set()
    refused = Faults()
    for one in faulty:
        if one.source_vocabulary_id in in_use:
            refused.add(one.file, one.line, one.problem)
        left_out.add((one.file, one.line))
    if refused:
        raise VocabularyError(
            f"local code maps do not fit the vocabulary: {refused}. Correct the targets or load the right vocabulary"
        )
    return tuple(one for one in maps if (one.file, one.line) not in left_out)


def _read_file(path: Path, declared: Mapping[str, LocalVocabulary], faults: Faults) -> Iterator[LocalMap]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            faults.add(path.name, 1, f"lacks columns {', '.join(missing)}")
            return
        for row in reader:
            values = {name: (row[name] or "").strip() for name in COLUMNS}
            name = values["source_vocabulary_id"]
            short = declared[name].cdm_vocabulary_id if name in declared else name
            wrong = _row_faults(values, short, too_wide=None in row)
            for fault in wrong:
                faults.add(path.name, reader.line_num, fault)
            if not wrong and not values["invalid_reason"]:
                yield _local_map(path.name, reader.line_num, values, short)


def _row_faults(values: dict[str, str], short: str, *, too_wide: bool) -> list[str]:
    ids = ("source_concept_id", "target_concept_id")
    days = ("valid_start_date", "valid_end_date")
    faults = ["has more values than columns"] if too_wide else []
    faults += [f"{name} is empty" for name in ("source_code", "source_vocabulary_id", "reference") if not values[name]]
    faults += [f"{name} is longer than {most} characters" for name, most in _LONGEST.items() if len(values[name]) > most]
    if len(short) > CDM_VOCABULARY_ID_LENGTH:
        most = f"longer than {CDM_VOCABULARY_ID_LENGTH} characters"
        faults.append(f"source_vocabulary_id is {most} and has no short id in {VOCABULARIES_FILE}")
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


def _local_map(file: str, line: int, values: dict[str, str], short: str) -> LocalMap:
    return LocalMap(
        file=file,
        line=line,
        source_vocabulary_id=values["source_vocabulary_id"],
        cdm_vocabulary_id=short,
        source_code=values["source_code"],
        source_code_description=values["source_code_description"],
        source_concept_id=int(values["source_concept_id"]),
        target_concept_id=int(values["target_concept_id"]),
        target_vocabulary_id=values["target_vocabulary_id"],
        valid_start_date=date.fromisoformat(values["valid_start_date"]),
        valid_end_date=date.fromisoformat(values["valid_end_date"]),
        status=values["status"],
        reference=values["reference"],
    )
