"""Reads an Athena download: gives its files as typed DataFrames. `vocab.download` checks them first.

Athena writes tab-separated text without quoting, so a name may contain a single double quote. The CSV readers of the
engines switch quoting off in different ways. So pyarrow reads each file in blocks, whose size limits the memory of a task.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from vocab.errors import VocabularyError
from vocab.schemas import ddl_of

_VALIDITY = {"valid_start_date": "date", "valid_end_date": "date", "invalid_reason": "string"}

TABLES: dict[str, dict[str, str]] = {
    "CONCEPT": {
        "concept_id": "bigint",
        "concept_name": "string",
        "domain_id": "string",
        "vocabulary_id": "string",
        "concept_class_id": "string",
        "standard_concept": "string",
        "concept_code": "string",
    }
    | _VALIDITY,
    "CONCEPT_RELATIONSHIP": {"concept_id_1": "bigint", "concept_id_2": "bigint", "relationship_id": "string"} | _VALIDITY,
    "CONCEPT_ANCESTOR": {
        "ancestor_concept_id": "bigint",
        "descendant_concept_id": "bigint",
        "min_levels_of_separation": "bigint",
        "max_levels_of_separation": "bigint",
    },
    "CONCEPT_SYNONYM": {"concept_id": "bigint", "concept_synonym_name": "string", "language_concept_id": "bigint"},
    "CONCEPT_CLASS": {"concept_class_id": "string", "concept_class_name": "string", "concept_class_concept_id": "bigint"},
    "DOMAIN": {"domain_id": "string", "domain_name": "string", "domain_concept_id": "bigint"},
    "RELATIONSHIP": {
        "relationship_id": "string",
        "relationship_name": "string",
        "is_hierarchical": "string",
        "defines_ancestry": "string",
        "reverse_relationship_id": "string",
        "relationship_concept_id": "bigint",
    },
    "VOCABULARY": {
        "vocabulary_id": "string",
        "vocabulary_name": "string",
        "vocabulary_reference": "string",
        "vocabulary_version": "string",
        "vocabulary_concept_id": "bigint",
    },
    "DRUG_STRENGTH": {
        "drug_concept_id": "bigint",
        "ingredient_concept_id": "bigint",
        "amount_value": "double",
        "amount_unit_concept_id": "bigint",
        "numerator_value": "double",
        "numerator_unit_concept_id": "bigint",
        "denominator_value": "double",
        "denominator_unit_concept_id": "bigint",
        "box_size": "bigint",
    }
    | _VALIDITY,
}
"""The files of a download by stem, with their columns and Spark types."""

OPTIONAL_TABLES: dict[str, dict[str, str]] = {
    "CONCEPT_METADATA": {"concept_id": "bigint", "concept_category": "string", "reuse_status": "string"},
    "CONCEPT_RELATIONSHIP_METADATA": {
        "concept_id_1": "bigint",
        "concept_id_2": "bigint",
        "relationship_id": "string",
        "relationship_predicate_id": "string",
        "relationship_group": "bigint",
        "mapping_source": "string",
        "confidence": "double",
        "mapping_tool": "string",
        "mapper": "string",
        "reviewer": "string",
    },
    "PACK_CONTENT": {
        "pack_concept_id": "bigint",
        "drug_concept_id": "bigint",
        "amount": "bigint",
        "box_size": "bigint",
    },
}
"""Files that came with CDM 5.5. A download may lack them; their tables are then empty."""

BLOCK_BYTES = 32 * 1024 * 1024

MOST_TASKS = 8
"""Tasks that read one file. A writer keeps the rows of its task until they fill a row group, so each task costs memory."""

_BLOCK_SCHEMA = "file string, start bigint, stop bigint"


@contextmanager
def unpacked(download: Path) -> Iterator[Path]:
    """The folder of a download; a zip is unpacked into a temporary folder until the `with` block ends.

    Raises VocabularyError if `download` is neither a folder nor a zip, or a zip that cannot be unpacked.
    """
    if download.is_dir():
        yield download
        return
    if not zipfile.is_zipfile(download):
        raise VocabularyError(f"{download}: neither a folder nor a zip; give the Athena download")
    with tempfile.TemporaryDirectory(prefix="nhs-omop-athena-") as scratch:
        try:
            _unpack(download, Path(scratch))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise VocabularyError(f"{download}: damaged, download it again") from error
        except (RuntimeError, NotImplementedError) as error:  # what zipfile raises for a password or an unknown method
            raise VocabularyError(
                f"{download}: cannot be unpacked, as where it has a password; give the unpacked folder"
            ) from error
        yield Path(scratch)


def _unpack(download: Path, folder: Path) -> None:
    """Write the tables of a zip into a folder, whatever folders they are in. Raises VocabularyError where one comes twice."""
    with zipfile.ZipFile(download) as archive:
        for member in archive.infolist():
            # Only the base name is used, so that no member can be written outside the folder.
            name = Path(member.filename).name
            if not member.is_dir() and name.casefold().endswith(".csv"):
                if find_file(folder, Path(name).stem):
                    raise VocabularyError(f"{download}: has {name} twice; pack one download only")
                with archive.open(member) as packed, (folder / name).open("wb") as out:
                    shutil.copyfileobj(packed, out, BLOCK_BYTES)


def read_table(session: SparkSession, folder: Path, stem: str) -> DataFrame:
    """One row per line of an Athena file, with the columns and types of TABLES; an empty value is null.

    Dates are written `19700131` or `1970-01-31`.

    Every task must see the file under the same path. A missing file of OPTIONAL_TABLES gives no rows. Raises VocabularyError
    if any other file is missing.
    """
    path = find_file(folder, stem)
    schema = (TABLES | OPTIONAL_TABLES)[stem]
    if path is None:
        if stem not in OPTIONAL_TABLES:
            raise VocabularyError(f"{folder}: {stem}.csv is missing")
        return session.createDataFrame([], ddl_of(schema))
    names = header_of(path)
    blocks = blocks_of(path)

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for block in batch.to_pylist():
                yield from rows_of_block(Path(block["file"]), block["start"], block["stop"], names, list(schema))

    texts = ", ".join(f"{name} string" for name in schema)
    located = session.createDataFrame(blocks, _BLOCK_SCHEMA).repartition(min(len(blocks), MOST_TASKS))
    return located.mapInArrow(parse, texts).select(*[_typed(name, kind).alias(name) for name, kind in schema.items()])


def _typed(name: str, kind: str) -> Column:
    value = F.col(name)
    if kind != "date":
        return value.cast(kind)
    return F.try_to_timestamp(F.translate(value, "-", ""), F.lit("yyyyMMdd")).cast("date")


def find_file(folder: Path, stem: str) -> Path | None:
    """The file of a table, its name in any case; None where there is none."""
    wanted = f"{stem}.csv".casefold()
    return next((path for path in sorted(folder.iterdir()) if path.name.casefold() == wanted), None)


def header_of(path: Path) -> list[str]:
    """The names in the first line of a file, in lower case."""
    with path.open("rb") as file:
        line = file.readline().decode("utf-8-sig").rstrip("\r\n")
    return [name.strip().casefold() for name in line.split("\t")]


def blocks_of(path: Path) -> list[tuple[str, int, int]]:
    """The blocks of a file: its path, first byte and the byte after the last."""
    size = path.stat().st_size
    return [(str(path), start, min(start + BLOCK_BYTES, size)) for start in range(0, max(size, 1), BLOCK_BYTES)]


def rows_of_block(path: Path, start: int, stop: int, names: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of the lines that begin in a block, as text; empty is null.

    A line that began in the block before is skipped; the last line is read to its end. Raises ArrowInvalid where a line
    has another number of fields than `names` or is no UTF-8.
    """
    with path.open("rb") as file:
        if start:
            # Start one byte earlier, so that a line that begins exactly at `start` belongs to this block.
            file.seek(start - 1)
        file.readline()
        begin = file.tell()
        if begin >= stop:
            return
        content = file.read(stop - begin)
        if not content.endswith(b"\n"):
            content += file.readline()
    table = pacsv.read_csv(
        pa.BufferReader(content),
        read_options=pacsv.ReadOptions(column_names=names),
        parse_options=pacsv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, escape_char=False),
        convert_options=pacsv.ConvertOptions(
            include_columns=columns,
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    yield from table.to_batches()
