"""Delivered files to rows of text, each with its file and line.

One parser serves every engine: `pyarrow.csv` for a well-formed file, Python's `csv` for a file in which that finds a row
it would have to refuse. Headers are matched by name, every value stays text, and a line that is no row of the table is
kept whole with the reason.
"""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.contracts.source import Entity, normalise_header
from pipelines.errors import DeliveryError

DELIMITERS = (",", "|", "\t", ";")
MAX_LINES_OF_A_RECORD = 200
"""A quoted value may span lines; an opening quote without its end within so many lines is a malformed line."""

BATCH_ROWS = 65_536
HEAD_BYTES = 65_536

LIKE_A_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9 _.\-]{0,59}")
"""What a header of a file may look like to be shown in a message."""

HEADERS_SHOWN = 10

LINE_COLUMNS = ("_provider", "_file", "_line", "_reason", "_raw")
"""What every parsed row carries before the columns of its contract: `_reason` and `_raw` only where it is malformed."""


@dataclass(frozen=True)
class Layout:
    """How one file is laid out: its delimiter, and for each position the contract column it fills (None: not declared)."""

    delimiter: str
    columns: tuple[str | None, ...]
    undeclared: int


def _decoded(raw: bytes) -> bytes:
    """The content as UTF-8 without a byte order mark; what is not UTF-8 is read as UTF-16 by its mark, else as cp1252."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace").encode()
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    if raw.isascii():
        return raw
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace").encode()
    return raw


def read_bytes(path: Path) -> bytes:
    """The decompressed content of a plain, gzip or zip file (a zip holds one file)."""
    if path.suffix.casefold() == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix.casefold() == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(_only_member(archive, path))
    return path.read_bytes()


def _only_member(archive: zipfile.ZipFile, path: Path) -> str:
    members = [name for name in archive.namelist() if not name.endswith("/")]
    if len(members) != 1:
        raise DeliveryError(f"{path.name}: a zip must hold exactly one file; found {len(members)}")
    return members[0]


def read_head(path: Path) -> bytes:
    """The first bytes of a file's decompressed content, enough for its header."""
    if path.suffix.casefold() == ".gz":
        with gzip.open(path) as stream:
            return stream.read(HEAD_BYTES)
    if path.suffix.casefold() == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(_only_member(archive, path)) as stream:
            return stream.read(HEAD_BYTES)
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _first_line(content: bytes) -> str:
    text = content.decode("utf-8", errors="replace")
    return text.splitlines()[0] if text else ""


def layout_of(head: bytes, entity: Entity, in_use: Collection[str] = ()) -> tuple[Layout | None, list[str]]:
    """The layout that a file's header gives, and the faults that make the file unusable.

    A column `in_use` that is not required may be missing: not every system delivers it. It is a fault where the file has
    columns that nobody declared as well, because one of them may be the missing one under another name, and lost.
    """
    cut = head[: head.rfind(b"\n") + 1] or head
    line = _first_line(_decoded(cut))
    if not line.strip():
        return None, ["the file has no header"]
    delimiter = max(DELIMITERS, key=line.count)
    headers = next(csv.reader([line], delimiter=delimiter))
    names, faults = _placed([normalise_header(header) for header in headers], entity)
    needed = [name for name, column in entity.columns.items() if column.required or name in entity.key]
    missing = [entity.columns[name].header or name for name in needed if name not in names]
    renamed = [column.header or name for name, column in entity.columns.items() if name in in_use and name not in names]
    undeclared = _undeclared(headers, names)
    if missing:
        faults.append(f"required columns are missing: {', '.join(missing)}{undeclared}")
    elif renamed and undeclared:
        faults.append(f"columns in use are missing: {', '.join(renamed)}{undeclared}")
    return Layout(delimiter, tuple(names), names.count(None)), faults


def _undeclared(headers: Sequence[str], names: Sequence[str | None]) -> str:
    """What to say of headers that no column of the contract has.

    The first line of a file without a header is a person's: nothing of a line is shown unless most of it is understood.
    """
    unknown = [header.strip() for header, name in zip(headers, names, strict=True) if name is None and header.strip()]
    if not unknown:
        return ""
    count = f"; the contract does not know {len(unknown)} of its headers"
    if 2 * len(unknown) > len(headers):
        return count
    shown = [header for header in unknown if LIKE_A_HEADER.fullmatch(header)][:HEADERS_SHOWN]
    more = [f"{len(unknown) - len(shown)} more"] if len(shown) < len(unknown) else []
    return f"{count}: {', '.join(shown + more)}"


def _placed(headers: Sequence[str], entity: Entity) -> tuple[list[str | None], list[str]]:
    """The column that each header fills, and the faults.

    An extract may carry the old and the new name of an item side by side: the header comes before its aliases, these in
    their order before the canonical name, and what is not chosen counts as undeclared.
    """
    names: list[str | None] = [None] * len(headers)
    faults = []
    for name, column in entity.columns.items():
        accepted = dict.fromkeys(normalise_header(header) for header in (column.header or name, *column.aliases, name))
        chosen = next((header for header in accepted if header in headers), None)
        if chosen is not None:
            names[headers.index(chosen)] = name
            if headers.count(chosen) > 1:
                faults.append(f"column {name} appears {headers.count(chosen)} times")
    return names, faults


def parse_file(path: Path, provider: str, file_id: str, columns: Sequence[str], layout: Layout) -> Iterator[pa.RecordBatch]:
    """Rows of one file as batches of LINE_COLUMNS and then `columns`, all text but `_line`."""
    content = _decoded(read_bytes(path))
    table = _fast(content, layout)
    if table is None:
        yield from _careful(content, provider, file_id, columns, layout)
        return
    present = {name: table.column(position) for position, name in enumerate(layout.columns) if name}
    rows = table.num_rows
    arrays: dict[str, pa.Array | pa.ChunkedArray] = {
        "_provider": pa.repeat(provider, rows),
        "_file": pa.repeat(file_id, rows),
        "_line": pa.array(np.arange(2, rows + 2, dtype=np.int64)),
        "_reason": pa.nulls(rows, pa.string()),
        "_raw": pa.nulls(rows, pa.string()),
    }
    arrays |= {name: present.get(name, pa.nulls(rows, pa.string())) for name in columns}
    yield from pa.table(arrays).combine_chunks().to_batches(max_chunksize=BATCH_ROWS)


def _fast(content: bytes, layout: Layout) -> pa.Table | None:
    """The data rows, or None where physical lines and rows may differ and the careful reader has to decide."""
    header_end = content.find(b"\n") + 1
    if header_end == 0 or content.count(b"\r") != content.count(b"\r\n"):
        return None
    lines = content.count(b"\n", header_end) + (not content.endswith(b"\n"))
    names = [f"c{position}" for position in range(len(layout.columns))]
    if header_end >= len(content):
        return pa.table({name: pa.array([], pa.string()) for name in names})
    try:
        table = pacsv.read_csv(
            pa.BufferReader(content),
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=1, use_threads=False, block_size=16 << 20),
            parse_options=pacsv.ParseOptions(delimiter=layout.delimiter),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == lines else None


def _records(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line number, text and whether the quotes balance, for each record after the header; empty lines are no records."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position = 1
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        end = position
        quotes = lines[position].count('"')
        while quotes % 2 and end + 1 < min(len(lines), position + MAX_LINES_OF_A_RECORD):
            end += 1
            quotes += lines[end].count('"')
        if quotes % 2:
            yield position + 1, lines[position], False
            position += 1
        else:
            yield position + 1, "\n".join(lines[position : end + 1]), True
            position = end + 1


def _careful(content: bytes, provider: str, file_id: str, columns: Sequence[str], layout: Layout) -> Iterator[pa.RecordBatch]:
    width = len(layout.columns)
    schema = row_schema(columns)
    rows: list[dict[str, str | int | None]] = []
    for line, record, balanced in _records(content.decode("utf-8", errors="replace")):
        fields = next(csv.reader(io.StringIO(record), delimiter=layout.delimiter)) if balanced else []
        reason = _fault(balanced, len(fields), width)
        row: dict[str, str | int | None] = {
            "_provider": provider,
            "_file": file_id,
            "_line": line,
            "_reason": reason,
            "_raw": record if reason else None,
        }
        if not reason:
            row |= {name: field for name, field in zip(layout.columns, fields, strict=True) if name}
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)
            rows = []
    yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _fault(balanced: bool, fields: int, width: int) -> str | None:
    if not balanced:
        return "malformed:unclosed_quote"
    if fields < width:
        return "malformed:too_few_fields"
    return "malformed:too_many_fields" if fields > width else None


def row_schema(columns: Sequence[str]) -> pa.Schema:
    """The Arrow schema of parsed rows."""
    kinds = {"_line": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in (*LINE_COLUMNS, *columns)])


def row_ddl(columns: Sequence[str]) -> str:
    """The same schema as Spark DDL."""
    return ", ".join(f"`{name}` {'bigint' if name == '_line' else 'string'}" for name in (*LINE_COLUMNS, *columns))


def parse_batches(
    batches: Iterator[pa.RecordBatch], columns: Sequence[str], layouts: Mapping[str, Layout]
) -> Iterator[pa.RecordBatch]:
    """Parse the files listed in `batches` (path, provider, file_id); runs on the workers."""
    for batch in batches:
        for file in batch.to_pylist():
            yield from parse_file(Path(file["path"]), file["provider"], file["file_id"], columns, layouts[file["file_id"]])
