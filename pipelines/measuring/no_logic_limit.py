"""The least that any program could take: every delivered file read as text by DuckDB and written as Parquet.

DuckDB reads neither zip files nor Windows' encoding: such files are first written as UTF-8 text, and the time for it counts.
"""

import codecs
import gzip
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO

import duckdb

from pipelines.errors import ConfigError

CELLS = "all_varchar = true, skip = 0, quote = '\"', escape = '\"', delim = '{delimiter}'"
WAYS = (
    f"{CELLS}, parallel = true",
    f"{CELLS}, parallel = false, null_padding = true",
    "columns = {{'line': 'VARCHAR'}}, auto_detect = false, quote = '', escape = '', delim = '\x01', parallel = false",
)
"""How to read a file: on all cores; row by row where rows are short or have line breaks in values; as lines where quotes are
broken."""

DELIMITERS = (",", "|", ";", "\t")

NOT_DATA = frozenset({".json", ".md5", ".sha256"})


@dataclass(frozen=True)
class Limit:
    """What it took to read the files of a landing folder and write them again, without any logic."""

    files: int
    rows: int
    seconds: float


def measure_limit(landing: Path, scratch: Path) -> Limit:
    """Read every delivered file and write it as Parquet to a folder that is removed at the end, on all cores."""
    files = sorted(path for path in landing.rglob("*") if path.is_file() and path.suffix not in NOT_DATA)
    cores = os.cpu_count() or 1
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder, duckdb.connect() as connection:
        connection.execute(f"SET threads = {cores}")
        connection.execute("SET preserve_insertion_order = false")
        targets = [Path(folder) / f"{place}.parquet" for place in range(len(files))]
        begun = perf_counter()
        with ThreadPoolExecutor(cores) as pool:
            rows = sum(pool.map(lambda file, target: _rewrite(connection.cursor(), file, target), files, targets))
        return Limit(len(files), rows, perf_counter() - begun)


def _rewrite(connection: duckdb.DuckDBPyConnection, file: Path, target: Path) -> int:
    """Write a delivered file as Parquet; how many rows it has.

    Raises ConfigError if it cannot be read; DuckDB's reason is left out, for it quotes a row.
    """
    rows = None if file.suffix == ".zip" else _copy(connection, file, target)
    if rows is None:
        text = target.with_suffix(".csv")
        _write_as_utf_8(file, text)
        rows = _copy(connection, text, target)
        text.unlink()
    if rows is None:
        raise ConfigError(f"{file}: DuckDB cannot read it")
    return rows


def _copy(connection: duckdb.DuckDBPyConnection, file: Path, target: Path) -> int | None:
    """The rows of a file that were written as Parquet, None if it is not text in UTF-8 that can be read."""
    delimiter = _delimiter_of(file)
    for way in WAYS:
        rows = f"read_csv({_literal(file)}, header = true, strict_mode = false, {way.format(delimiter=delimiter)})"
        with suppress(duckdb.Error):
            copied = connection.execute(f"COPY (SELECT * FROM {rows}) TO {_literal(target)} (FORMAT parquet)")  # noqa: S608
            return sum(int(count) for (count,) in copied.fetchall())
    return None


def _delimiter_of(file: Path) -> str:
    """The delimiter that the first line has most of; DuckDB guesses wrong where files are short."""
    with _opened(file) as content:
        line = content.readline()
    return max(DELIMITERS, key=lambda delimiter: line.count(delimiter.encode()))


def _write_as_utf_8(file: Path, target: Path) -> None:
    with _opened(file) as source, target.open("w", encoding="utf-8", newline="") as text:
        start = source.read(2)
        encoding = "utf-16" if start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "latin-1"
        source.seek(0)
        shutil.copyfileobj(codecs.getreader(encoding)(source), text)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The bytes of a file; of a zip file, those of what it holds."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as member:
            yield member
    else:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as content:
            yield content


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
