"""Local code maps: `mappings/concepts/*.csv` in the form of SOURCE_TO_CONCEPT_MAP, with `status` and `reference`.

Only rows with the status APPROVED are used. Target 0 says that the code maps to no concept on purpose (`not known`, `not
applicable`), so that it is not in the work list of unmapped codes. `vocabularies.csv` in the same folder declares the
vocabularies.
"""

import csv
import re
import shutil
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vocab.codes import cdm_code, normal_form
from vocab.concept_map import MAPS_TO
from vocab.concepts import FIRST_LOCAL_CONCEPT, is_concept_id, is_valid_standard
from vocab.errors import VocabularyError
from vocab.faults import Faults
from vocab.local_vocabularies import (
    CDM_VOCABULARY_ID_LENGTH,
    VOCABULARIES_FILE,
    LocalVocabulary,
    cdm_vocabulary_rows,
    read_local_vocabularies,
)
from vocab.schemas import ddl_of

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

REVIEW_COLUMNS = ("reviewed_by", "review_note")
"""Columns that a map file may have: who found right that a target differs from its text (vocab.meaning), and why."""

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
"""Columns of the approved maps as a DataFrame; source_code is normalised."""

TARGET_FAULTS_SCHEMA = {
    "file": "string",
    "line": "bigint",
    "source_vocabulary_id": "string",
    "problem": "string",
    "target_concept_id": "bigint",
}
"""Columns of `faulty_targets`."""

_ALWAYS = ("1970-01-01", "2099-12-31")

_ALLOWED = {"invalid_reason": ("", "D", "U"), "status": (APPROVED, UNAPPROVED)}
_LONGEST = {"source_code": 255, "source_vocabulary_id": 50, "source_code_description": 255}


@dataclass(frozen=True)
class LocalMap:
    """One row of a map file: a code, its target, and its file and line. `cdm_vocabulary_id` is the short id of the CDM."""

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
    reviewed_by: str = ""

    @property
    def is_approved(self) -> bool:
        """Whether runs use it."""
        return self.status == APPROVED


def map_files(folder: Path) -> list[Path]:
    """The map files of a folder, in the order in which they are read."""
    return sorted(path for path in folder.glob("*.csv") if path.name != VOCABULARIES_FILE)


def local_vocabulary_rows(folder: Path, maps: Iterable[LocalMap]) -> list[dict[str, str | int]]:
    """Rows of VOCABULARY for the vocabularies of a folder: those declared, and undeclared ones that a map uses.

    Raises VocabularyError if their declaration has a fault.
    """
    return cdm_vocabulary_rows(declared_vocabularies(folder).values(), {row.cdm_vocabulary_id for row in maps})


def declared_vocabularies(folder: Path) -> dict[str, LocalVocabulary]:
    """The vocabularies that a folder declares, by the name that the mappings use. Raises VocabularyError."""
    faults = Faults()
    declared = read_local_vocabularies(folder, faults)
    if faults:
        raise VocabularyError(f"{folder}: {faults}")
    return declared


def read_local_maps(folder: Path) -> tuple[LocalMap, ...]:
    """Every valid row of every map file, approved or not, in the order of the files. Invalidated rows are left out.

    Raises VocabularyError, which lists every fault by file and line.
    """
    faults = Faults()
    declared = read_local_vocabularies(folder, faults)
    maps: list[LocalMap] = []
    for path in map_files(folder):
        maps += _read_file(path, declared, faults)
    seen: dict[tuple[str, str, int], LocalMap] = {}
    for row in maps:
        key = (row.source_vocabulary_id, row.source_code, row.target_concept_id)
        if key in seen:
            faults.add(row.file, row.line, "repeats an earlier row")
        seen.setdefault(key, row)
    if faults:
        raise VocabularyError(f"{folder}: local code maps are wrong: {faults}")
    return tuple(maps)


@dataclass(frozen=True)
class ApprovedTarget:
    """A target that a person approved for a code, to be added to the map file of its vocabulary."""

    vocabulary: str
    code: str
    description: str
    target_concept_id: int
    target_vocabulary: str
    reference: str


def with_targets(folder: Path, targets: Iterable[ApprovedTarget]) -> dict[str, int]:
    """Add approved targets to the map files of a folder, all or none. Gives the number of rows added by file name.

    A vocabulary without a file gets one. Raises VocabularyError, and changes nothing, if the files would be wrong with the
    new rows.
    """
    files = {row.source_vocabulary_id: row.file for row in read_local_maps(folder)}
    added: dict[str, list[ApprovedTarget]] = {}
    for target in targets:
        added.setdefault(files.get(target.vocabulary) or _file_name(target.vocabulary), []).append(target)
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
        for target in targets:
            writer.writerow(
                {
                    "source_code": target.code,
                    "source_concept_id": 0,
                    "source_vocabulary_id": target.vocabulary,
                    "source_code_description": target.description,
                    "target_concept_id": target.target_concept_id,
                    "target_vocabulary_id": target.target_vocabulary,
                    "valid_start_date": _ALWAYS[0],
                    "valid_end_date": _ALWAYS[1],
                    "status": APPROVED,
                    "reference": target.reference,
                }
            )


def approved_maps(session: SparkSession, maps: Iterable[LocalMap]) -> DataFrame:
    """One row per approved map (LOCAL_MAPS_SCHEMA plus `line`)."""
    columns = {"line": "bigint"} | LOCAL_MAPS_SCHEMA
    rows = [tuple(getattr(row, name) for name in columns) for row in maps if row.is_approved]
    frame = session.createDataFrame(rows, ddl_of(columns))
    return frame.withColumn("source_code", normal_form(F.col("source_vocabulary_id"), F.col("source_code")))


def source_to_concept_map(approved: DataFrame) -> DataFrame:
    """One row per approved map, with the columns of the CDM table SOURCE_TO_CONCEPT_MAP.

    Vocabularies have their short ids, codes the form of `cdm_code`. A code without a description is its own.
    """
    code = F.col("source_code")
    description = F.coalesce(F.nullif("source_code_description", F.lit("")), code)
    return approved.select(
        cdm_code(code).alias("source_code"),
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
    """One row per map with an unusable target (TARGET_FAULTS_SCHEMA): not in the vocabulary, not standard, or invalid.

    `approved` is the result of `approved_maps`, `concepts` the CONCEPT table.
    """
    targets = concepts.select(
        F.col("concept_id").alias("target_concept_id"),
        F.lit(True).alias("known"),
        is_valid_standard().alias("usable"),
    )
    with_concepts = approved.where(F.col("target_concept_id") != 0).join(targets, on="target_concept_id", how="left")
    problem = F.when(F.col("known").isNull(), F.lit("target is not in the vocabulary")).when(
        ~F.coalesce(F.col("usable"), F.lit(False)), F.lit("target is not a valid standard concept")
    )
    faulty = with_concepts.withColumn("problem", problem).where(F.col("problem").isNotNull())
    return faulty.orderBy("file", "line").select(*TARGET_FAULTS_SCHEMA)


@dataclass(frozen=True)
class TargetFault:
    """One row of `faulty_targets`."""

    file: str
    line: int
    source_vocabulary_id: str
    problem: str
    target_concept_id: int


CURRENT_TARGETS_SCHEMA = {"target_concept_id": "bigint", "current_concept_id": "bigint", "current_vocabulary_id": "string"}
"""Columns of `current_targets`."""


@dataclass(frozen=True)
class CurrentTarget:
    """One row of `current_targets`."""

    target_concept_id: int
    current_concept_id: int
    current_vocabulary_id: str


def current_targets(targets: Iterable[int], concepts: DataFrame, relationships: DataFrame) -> DataFrame:
    """One row per target that the vocabulary maps to one other standard concept, with that concept (CURRENT_TARGETS_SCHEMA).

    So a map holds for vocabularies from before and after a concept was replaced: 5083 Telehealth is standard in vocabularies
    of 2024 and maps to 722455 in later ones. What maps to several concepts is for a person to decide.
    """
    is_map = (F.col("relationship_id") == MAPS_TO) & F.col("invalid_reason").isNull()
    edges = relationships.where(is_map & F.col("concept_id_1").isin(*targets)).select(
        F.col("concept_id_1").alias("target_concept_id"), F.col("concept_id_2").alias("current_concept_id")
    )
    standard = concepts.where(is_valid_standard()).select(
        F.col("concept_id").alias("current_concept_id"), F.col("vocabulary_id").alias("current_vocabulary_id")
    )
    found = standard.join(F.broadcast(edges), on="current_concept_id", how="inner")
    least = found.groupBy("target_concept_id").agg(
        F.min("current_concept_id").alias("current_concept_id"),
        F.max("current_concept_id").alias("_greatest"),
        F.min("current_vocabulary_id").alias("current_vocabulary_id"),
    )
    return least.where(F.col("current_concept_id") == F.col("_greatest")).select(*CURRENT_TARGETS_SCHEMA)


def with_current_targets(maps: Iterable[LocalMap], current: Iterable[CurrentTarget]) -> tuple[LocalMap, ...]:
    """The maps, each with the concept that its target was replaced by, if it was."""
    found = {row.target_concept_id: row for row in current}

    def followed(row: LocalMap) -> LocalMap:
        now = found.get(row.target_concept_id)
        if now is None:
            return row
        return replace(row, target_concept_id=now.current_concept_id, target_vocabulary_id=now.current_vocabulary_id)

    return tuple(followed(row) for row in maps)


def without_faulty(maps: Sequence[LocalMap], faulty: Iterable[TargetFault], in_use: Container[str]) -> tuple[LocalMap, ...]:
    """The maps that a run can use: without the faulty rows of vocabularies that are not in use.

    The loaded vocabulary may lack the targets of codes that no source delivers. Raises VocabularyError, which lists the
    faulty rows of vocabularies in use, because their codes would lose the concept that a person approved.
    """
    left_out: set[tuple[str, int]] = set()
    refused, step = Faults(), "load the right vocabulary"
    for fault in faulty:
        if fault.source_vocabulary_id in in_use:
            refused.add(fault.file, fault.line, fault.problem)
            if fault.target_concept_id >= FIRST_LOCAL_CONCEPT:
                step = "load the vocabulary again, which adds the local concepts that are new: nhs-omop vocab load"
        left_out.add((fault.file, fault.line))
    if refused:
        raise VocabularyError(f"local code maps do not fit the vocabulary: {refused}. Correct the targets or {step}")
    return tuple(row for row in maps if (row.file, row.line) not in left_out)


def with_equivalents(maps: Iterable[LocalMap], replaced: Mapping[int, tuple[int, str]]) -> tuple[LocalMap, ...]:
    """The maps, with equivalents (concept and vocabulary) for the targets that are retired concepts of this project."""
    moved = []
    for row in maps:
        target, vocabulary = replaced.get(row.target_concept_id, (row.target_concept_id, row.target_vocabulary_id))
        moved.append(replace(row, target_concept_id=target, target_vocabulary_id=vocabulary))
    return tuple(moved)


def _read_file(path: Path, declared: Mapping[str, LocalVocabulary], faults: Faults) -> Iterator[LocalMap]:
    for line, row in faults.rows_of(path, COLUMNS):
        values = {name: (row.get(name) or "").strip() for name in (*COLUMNS, *REVIEW_COLUMNS)}
        name = values["source_vocabulary_id"]
        short = declared[name].cdm_vocabulary_id if name in declared else name
        wrong = _row_faults(values, short, too_wide=None in row)
        for fault in wrong:
            faults.add(path.name, line, fault)
        if not wrong and not values["invalid_reason"]:
            yield _local_map(path.name, line, values, short)


def _row_faults(values: dict[str, str], short: str, *, too_wide: bool) -> list[str]:
    ids = ("source_concept_id", "target_concept_id")
    days = ("valid_start_date", "valid_end_date")
    faults = ["has more values than columns"] if too_wide else []
    faults += [f"{name} is empty" for name in ("source_code", "source_vocabulary_id", "reference") if not values[name]]
    faults += [
        f"{name} has no letter: say it in words"
        for name in ("reference", *REVIEW_COLUMNS)
        if values[name] and not any(map(str.isalpha, values[name]))
    ]
    faults += [f"{name} is longer than {most} characters" for name, most in _LONGEST.items() if len(values[name]) > most]
    if len(short) > CDM_VOCABULARY_ID_LENGTH:
        most = f"longer than {CDM_VOCABULARY_ID_LENGTH} characters"
        faults.append(f"source_vocabulary_id is {most} and has no short id in {VOCABULARIES_FILE}")
    if bool(values["reviewed_by"]) != bool(values["review_note"]):
        faults.append("reviewed_by and review_note need each other")
    faults += [f"{name} is not a concept id" for name in ids if not is_concept_id(values[name])]
    faults += [f"{name} is not a date like 1970-01-01" for name in days if _date(values[name]) is None]
    faults += [
        f"{name} is none of {', '.join(value or 'empty' for value in allowed)}"
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
        reviewed_by=values["reviewed_by"],
    )
