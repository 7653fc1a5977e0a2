"""Checks an Athena download as a whole, before the first table is written: its files, columns, values and vocabularies."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import pyarrow as pa

from vocab.athena import OPTIONAL_TABLES, TABLES, blocks_of, find_file, header_of, rows_of_block
from vocab.errors import VocabularyError

UK_VOCABULARIES = (
    "SNOMED", "ICD10", "OPCS4", "Read", "dm+d", "RxNorm", "RxNorm Extension", "LOINC", "UCUM", "NHS Ethnic Category",
)  # fmt: skip
"""Vocabularies that UK extracts use or map to. A download that lacks one of them loads with a warning."""

NEEDS_A_STEP = {"CPT4": "run the program that came with the download (cpt.sh or cpt.bat), which adds them to CONCEPT.csv"}
"""Vocabularies whose concepts Athena does not put into CONCEPT, with what brings them there."""

_RELEASE_ROW = "None"
_FAULTS_SHOWN = 5

_FLAGS = {
    "standard_concept": {"S", "C"},
    "invalid_reason": {"D", "U"},
    "is_hierarchical": {"0", "1"},
    "defines_ancestry": {"0", "1"},
}
"""Columns with a closed list of values. Empty is allowed: not standard, valid."""

_NEVER_EMPTY = {"valid_start_date", "valid_end_date", "vocabulary_id", "domain_id", "concept_class_id", "relationship_id"} | {
    "concept_id", "concept_id_1", "concept_id_2", "ancestor_concept_id", "descendant_concept_id", "ingredient_concept_id",
}  # fmt: skip

_DATE_FORMS = {8: "%Y%m%d", 10: "%Y-%m-%d"}


@dataclass(frozen=True)
class DownloadSummary:
    """Content of a download.

    Its release, the version of each vocabulary that VOCABULARY lists and the number of its concepts in CONCEPT, the size in
    bytes by file stem, and warnings for the operator.
    """

    release: str
    vocabularies: dict[str, str]
    concepts: dict[str, int]
    file_bytes: dict[str, int]
    warnings: tuple[str, ...]


def check_download(folder: Path, used: Iterable[str] = ()) -> DownloadSummary:
    """Check the files of a folder and summarise them. `used` are vocabularies that are needed besides UK_VOCABULARIES.

    Raises VocabularyError, which lists every missing file, every wrong header, a missing release, and by file and line the
    first values that cannot be read.
    """
    faults: list[str] = []
    sizes: dict[str, int] = {}
    found: dict[str, Path] = {}
    for stem, schema in (TABLES | OPTIONAL_TABLES).items():
        path = find_file(folder, stem)
        if path is not None:
            found[stem] = path
            sizes[stem] = path.stat().st_size
            faults += _header_faults(path, schema)
        elif stem in TABLES:
            faults.append(f"{stem}.csv is missing")
    concepts: Counter[str] = Counter()
    for stem, path in ({} if faults else found).items():
        faults += islice(_content_faults(path, (TABLES | OPTIONAL_TABLES)[stem], concepts), _FAULTS_SHOWN)
    vocabularies = {} if faults else _vocabulary_versions(found["VOCABULARY"])
    release = vocabularies.pop(_RELEASE_ROW, "")
    if not faults and not release:
        faults.append(f"VOCABULARY.csv has no row {_RELEASE_ROW!r} with the release")
    if faults:
        raise VocabularyError(f"{folder}: not an Athena download: {'; '.join(faults)}. Unpack a complete download there")
    counts = {name: concepts[name] for name in vocabularies}
    return DownloadSummary(release, vocabularies, counts, sizes, tuple(_warnings(counts, used)))


def _warnings(concepts: dict[str, int], used: Iterable[str]) -> Iterator[str]:
    for name in UK_VOCABULARIES:
        if name not in concepts:
            yield f"{name} is not in the download: its codes will not be mapped"
    needed = {*UK_VOCABULARIES, *NEEDS_A_STEP, *used}
    for name, number in concepts.items():
        if name in needed and not number:
            step = NEEDS_A_STEP.get(name, "choose it on the Athena site and download again")
            yield f"VOCABULARY lists {name}, but CONCEPT has 0 concepts of it: its codes will not be mapped; {step}"


def _header_faults(path: Path, schema: dict[str, str]) -> list[str]:
    names = header_of(path)
    if len(names) == 1:
        return [f"{path.name} is not separated by tabs"]
    if any(name.startswith('"') for name in names):
        return [f"{path.name} has quoted fields; Athena's files have none"]
    missing = [name for name in schema if name not in names]
    return [f"{path.name} lacks {', '.join(missing)}"] if missing else []


def _vocabulary_versions(path: Path) -> dict[str, str]:
    names = header_of(path)
    columns = ["vocabulary_id", "vocabulary_version"]
    rows = (row for batch in rows_of_block(path, 0, path.stat().st_size, names, columns) for row in batch.to_pylist())
    return {row["vocabulary_id"]: row["vocabulary_version"] or "" for row in rows if row["vocabulary_id"]}


@dataclass(frozen=True)
class _Test:
    """What the values of a column have to be. `quickly` accepts a whole column at once where the type allows it."""

    wanted: str
    holds: Callable[[str], bool]
    quickly: pa.DataType | None = None


def _test_of(column: str, kind: str) -> _Test | None:
    if kind == "date":
        return _Test("a date as yyyymmdd or yyyy-mm-dd", _is_date)
    if kind == "bigint":
        return _Test("a whole number", lambda value: re.fullmatch("-?[0-9]{1,18}", value, re.ASCII) is not None, pa.int64())
    if kind == "double":
        return _Test("a number", _is_number, pa.float64())
    if column in _FLAGS:
        listed = _FLAGS[column]
        return _Test(f"empty or one of {', '.join(sorted(listed))}", lambda value: value in listed)
    if column.endswith("_id"):
        return _Test("without quotes", lambda value: not value.startswith('"'))
    return None


def _is_date(value: str) -> bool:
    if re.fullmatch("[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII) is None:
        return False
    try:
        datetime.strptime(value, _DATE_FORMS[len(value)])
    except ValueError:
        return False
    return True


def _is_number(value: str) -> bool:
    return re.fullmatch("[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?", value, re.ASCII) is not None


def _content_faults(path: Path, schema: dict[str, str], concepts: Counter[str]) -> Iterator[str]:
    """The values of a file that cannot be read, each with its first line, and how many concepts CONCEPT repeats.

    On the way the concepts of each vocabulary are counted into `concepts`.
    """
    names = header_of(path)
    ids: list[pa.Array] = []
    tests = {column: test for column, kind in schema.items() if (test := _test_of(column, kind))}
    reported: set[tuple[str, str]] = set()
    for _, start, stop in blocks_of(path):
        try:
            batches = list(rows_of_block(path, start, stop, names, list(schema)))
        except pa.ArrowInvalid:
            yield _broken_line(path, len(names))
            return
        for batch in batches:
            if "concept_code" in schema:
                counted = batch.column("vocabulary_id").value_counts().to_pylist()
                concepts.update({item["values"]: item["counts"] for item in counted if item["values"]})
                ids.append(batch.column("concept_id"))
            for column, test in tests.items():
                for value in _unreadable(column, batch.column(column), test):
                    if (column, value) not in reported:
                        reported.add((column, value))
                        line = _first_line(path, names.index(column), value)
                        yield f"{path.name} line {line}: {column} is {'empty' if not value else f'not {test.wanted}'}"
    if ids and not reported:
        concept_ids = pa.chunked_array(ids).cast(pa.int64())
        repeated = len(concept_ids) - len(concept_ids.unique())
        if repeated:
            yield f"{path.name} has {repeated} concepts more than once, as after completing CPT4 twice"


def _unreadable(column: str, values: pa.Array, test: _Test) -> Iterator[str]:
    """The distinct values of a column that are not what they have to be."""
    if column in _NEVER_EMPTY and values.null_count:
        yield ""
    if test.quickly is not None:
        try:
            values.cast(test.quickly)
            return
        except pa.ArrowInvalid:
            pass
    yield from (value for value in values.unique().to_pylist() if value is not None and not test.holds(value))


def _first_line(path: Path, place: int, value: str) -> int:
    """The number of the first line after the header with a value in a place."""
    wanted = value.encode()
    with path.open("rb") as lines:
        next(lines)
        return next(n for n, line in enumerate(lines, 2) if line.strip() and line.rstrip(b"\r\n").split(b"\t")[place] == wanted)


def _broken_line(path: Path, fields: int) -> str:
    """The first line that is no line of the file's form."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            found = line.rstrip(b"\r\n").count(b"\t") + 1
            if line.strip() and found != fields:
                return f"{path.name} line {number}: {found} fields, {fields} expected"
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"{path.name} line {number}: not UTF-8"
    return f"{path.name}: not a file of lines separated by tabs"
