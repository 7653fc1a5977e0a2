"""Delivered files to rows of text, each with its file and line.

One parser serves every engine. Headers are matched by name, every value stays text, and a line that is no row of the table is
kept whole with the reason.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts.delivered_names import is_like_a_header
from pipelines.contracts.delivery_forms import ANY_END, Ending, Trailer, Whole, count_in
from pipelines.contracts.number_spellings import TEXT_OF_SPREADSHEET
from pipelines.contracts.source import Entity, normalise_header
from pipelines.errors import DeliveryError, StoreError
from pipelines.ingest.empty_values import is_empty
from pipelines.ingest.opening import content_of, place_of
from pipelines.ingest.records import Records, records_of
from pipelines.ingest.text import lines_of
from pipelines.storage.files import AnyPath, path_of

DELIMITERS = (",", "|", "\t", ";")

HEAD_BYTES = 65_536

HEADERS_SHOWN = 10

_QUOTED_HEADER = re.compile('"[^"]*"')

_OTHER_QUOTES = ("''", "``", "\u2018\u2019", "\u201c\u201d", "\u00ab\u00bb")

_RULES = tuple("-" * length for length in range(2, 257))
"""What `sqlcmd` writes under each header."""

_TRAILERS = ("trailer", "trl", "footer", "eof", "end of file", "total", "grand total")
"""How lines begin that count the records before them, in lower case; then they have no other letter."""

_LETTER = re.compile("[A-Za-z]")

REFUSED = "refused:"
"""How the reason begins of the row that stands for a file which could not be read to its end; what is wrong follows."""

_NO_STORE = "store:"

LINE_COLUMNS = ("_provider", "_file", "_line", "_reason", "_raw")
"""What every parsed row carries before the columns of its contract: `_reason` and `_raw` only where it is malformed."""


@dataclass(frozen=True)
class Layout:
    """How one file is laid out: its delimiter, for each position the contract column it fills (None: not declared), its end.

    `others` are columns with the position of a further header of theirs, which fills them where the first has no value. `key`
    are the columns of the key: of a malformed line they are taken as far as it goes, so that its record is not missed.
    `headers` are those of the file: one that was joined from several has them again.
    """

    delimiter: str
    columns: tuple[str | None, ...]
    undeclared: int
    ending: Ending = ANY_END
    others: tuple[tuple[str, int], ...] = ()
    key: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


def read_head(path: AnyPath) -> bytes:
    """The first bytes of a file's content as UTF-8, enough for its header.

    Raises DeliveryError, with the place of the file, where it cannot be opened or is no text.
    """
    return next(lines_of(content_of(path), place_of(path)), b"")[:HEAD_BYTES]


def layout_of(
    head: bytes, entity: Entity, in_use: Collection[str] = (), ending: Ending = ANY_END
) -> tuple[Layout | None, list[str]]:
    """The layout that a file's header gives, and the faults that make the file unusable. `head` is as read_head gives it.

    A column `in_use` that is not required may be missing: not every system delivers it. It is a fault where the file has
    columns that nobody declared as well, because one of them may be the missing one under another name, and lost.
    """
    line, _, rest = head.decode("utf-8", errors="replace").partition("\n")
    if not line.strip():
        return None, ["the file has no header"]
    delimiter = max(DELIMITERS, key=_QUOTED_HEADER.sub("", line).count)
    headers = next(csv.reader([line], delimiter=delimiter))
    records = [record for record in csv.reader(StringIO(rest, newline="\n"), delimiter=delimiter) if record]
    headers = _as_many_as_fields(headers, records if len(head) < HEAD_BYTES else records[:-1])
    compared = [normalise_header(header) for header in headers]
    names, others, faults = _placed(compared, entity)
    faults += _other_quotes(headers)
    needed = [name for name, column in entity.columns.items() if column.required or name in entity.key]
    missing = [entity.columns[name].header or name for name in needed if name not in names]
    renamed = [column.header or name for name, column in entity.columns.items() if name in in_use and name not in names]
    further = {position: name for name, position in others}
    filled = [name or further.get(position) for position, name in enumerate(names)]
    undeclared = _undeclared(headers, filled, len(records[0]) if records else 0, entity)
    if missing:
        faults.append(f"required columns are missing: {', '.join(missing)}{undeclared}")
    elif renamed and undeclared:
        faults.append(f"columns in use are missing: {', '.join(renamed)}{undeclared}")
    undeclared_count = names.count(None) - len(others)
    return Layout(delimiter, tuple(names), undeclared_count, ending, others, entity.key, tuple(headers)), faults


def _as_many_as_fields(headers: list[str], records: Sequence[Sequence[str]]) -> list[str]:
    """The headers, without a last one that has no name where no record at the start of the file has a field for it.

    Records with an empty field more than the header are left as they are: a delimiter in a text may have made it.
    """
    width, widths = len(headers), {len(record) for record in records}
    return headers[:-1] if widths == {width - 1} and not headers[-1].strip() else headers


def _other_quotes(headers: Sequence[str]) -> list[str]:
    """The fault of a file whose fields are quoted by other signs: they would be taken for a part of each value."""
    bare = [header.strip() for header in headers if header.strip()]
    is_quoted = bool(bare) and all(len(header) > 1 and header[0] + header[-1] in _OTHER_QUOTES for header in bare)
    return ['its fields are quoted by other signs than "; deliver it again with these'] if is_quoted else []


def _undeclared(headers: Sequence[str], names: Sequence[str | None], fields: int, entity: Entity) -> str:
    """What to say of headers that no column of the contract has; the record after them has so many `fields`.

    Where there is no header, or its line end is missing, the first line has values of a person: nothing of it is shown unless
    most of it is understood and the next line has as many fields. Nor is what is written together with a name of a missing
    column, and what follows that.
    """
    unknown = [header.strip() for header, name in zip(headers, names, strict=True) if name is None and header.strip()]
    if not unknown:
        return ""
    count = f"; the contract does not know {len(unknown)} of its headers"
    if not any(names):
        return count
    if fields != len(headers):
        of_next = fields or "is not there"
        return f"{count}: its first line has {len(headers)} fields and the next {of_next}, as where the line end is missing"
    if 2 * len(unknown) > len(headers):
        return count
    shown: list[str] = []
    for header in unknown[:HEADERS_SHOWN]:
        held = _missing_in(header, names, entity)
        shown += [f"{held} with more text"] if held else [header] if is_like_a_header(header) else []
        if held:
            break
    more = [f"{len(unknown) - len(shown)} more"] if len(shown) < len(unknown) else []
    return f"{count}: {', '.join(shown + more)}"


def _missing_in(header: str, names: Sequence[str | None], entity: Entity) -> str:
    """The name of a missing column that is a part of a header; empty where none is."""
    text = normalise_header(header)
    for name, column in entity.columns.items():
        spellings = [normalise_header(spelling) for spelling in (column.header or name, *column.aliases, name)]
        if name not in names and any(len(spelling) > 1 and spelling in text for spelling in spellings):
            return column.header or name
    return ""


def _placed(headers: Sequence[str], entity: Entity) -> tuple[list[str | None], tuple[tuple[str, int], ...], list[str]]:
    """The column that each header fills, the columns that further headers fill where these have no value, and the faults.

    An extract may carry the old and the new name of an item side by side, one filled in older rows and one in newer: the
    header comes before its aliases, these in their order before the canonical name.
    """
    names: list[str | None] = [None] * len(headers)
    further: list[tuple[str, int]] = []
    faults = []
    for name, column in entity.columns.items():
        accepted = dict.fromkeys(normalise_header(header) for header in (column.header or name, *column.aliases, name))
        there = [header for header in accepted if header in headers]
        faults += [f"column {name} appears {headers.count(header)} times" for header in there if headers.count(header) > 1]
        if there:
            names[headers.index(there[0])] = name
            further += [(name, headers.index(header)) for header in there[1:]]
    return names, tuple((name, position) for name, position in further if names[position] is None), faults


def parse_file(
    path: AnyPath, provider: str, file_id: str, columns: Sequence[str], layout: Layout, sha256: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of one file as batches of LINE_COLUMNS and then `columns`, all text but `_line`.

    Raises DeliveryError, with the place of the file, where it cannot be read to its end, is not what has this SHA-256, or does
    not end as its layout says. The batches up to there have been given by then.
    """
    place, ending = place_of(path), layout.ending
    blocks = _without_header(lines_of(content_of(path, sha256), place, ended=Whole.LINE_END in ending.complete))
    counted = _WithoutTrailer(blocks, ending.trailer, layout.delimiter, place) if ending.trailer else None
    taken = malformed = 0
    schema = row_schema(columns)
    position_of = {name: position for position, name in enumerate(layout.columns) if name}
    for found in records_of(counted or blocks, layout.delimiter, len(layout.columns)):
        records = _without_lines_around(found, layout)
        rows = len(records.lines)
        taken, malformed = taken + rows, malformed + rows - records.reasons.null_count
        nulls = pa.nulls(rows, pa.string())
        values = {name: _without_formula(records.fields[position]) for name, position in position_of.items()}
        for name, position in layout.others:
            values[name] = pc.if_else(is_empty(values[name]), _without_formula(records.fields[position]), values[name])
        if records.reasons.null_count < rows:
            values |= _with_keys(values, records, layout, position_of)
        line_columns = [pa.repeat(provider, rows), pa.repeat(file_id, rows), records.lines, records.reasons, records.texts]
        given = [values.get(name, nulls) for name in columns]
        yield from pa.table([*line_columns, *given], schema=schema).combine_chunks().to_batches()
    if Whole.ALL_FIELDS in ending.complete and malformed:
        raise DeliveryError(f"{place}: {malformed} of {taken} records are malformed: it may be cut short; deliver it again")
    if counted and taken != counted.records:
        raise DeliveryError(f"{place}: {taken} records, its trailer says {counted.records}; deliver it again, whole")


def _without_formula(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The texts, without the signs around `="0123"`."""
    is_formula = pc.starts_with(values, pattern='="')
    return pc.replace_substring_regex(values, TEXT_OF_SPREADSHEET, r"\1") if pc.any(is_formula).as_py() else values


def _without_lines_around(records: Records, layout: Layout) -> Records:
    """The records, of which those are malformed that are the header once more, the rules under it, or a trailer."""
    place = next((position for position, name in enumerate(layout.columns) if name in layout.key), None)
    if place is None or not layout.headers:
        return records
    begins = np.zeros(len(records.lines), dtype=np.bool_)
    sought = {place: (layout.headers[place].strip().casefold(), *_RULES)}
    for position, texts in (sought | {0: (*sought.get(0, ()), *_TRAILERS)}).items():
        first = pc.utf8_trim_whitespace(pc.utf8_lower(records.fields[position]))
        begins |= np.asarray(pc.is_in(first, value_set=pa.array(texts, pa.string())))
    lines = {int(row): [column[int(row)].as_py() for column in records.fields] for row in np.flatnonzero(begins)}
    reasons = {row: reason for row, fields in lines.items() if (reason := _no_record(fields, layout))}
    if not reasons:
        return records
    is_refused = np.zeros(len(records.lines), dtype=np.bool_)
    is_refused[list(reasons)] = True
    mask, refused = pa.array(is_refused), [layout.delimiter.join(lines[row]) for row in reasons]
    return Records(
        records.lines,
        [pc.if_else(mask, None, column) for column in records.fields],
        pc.replace_with_mask(records.reasons, mask, pa.array(reasons.values(), pa.string())),
        pc.replace_with_mask(records.texts, mask, pa.array(refused, pa.string())),
    )


def _no_record(fields: Sequence[str], layout: Layout) -> str | None:
    """Why some fields are no record: each is its header, each is a rule or empty, or they count the records before them."""
    if [normalise_header(field) for field in fields] == [normalise_header(header) for header in layout.headers]:
        return "malformed:header_again"
    if all(not field.strip(" -") for field in fields):
        return "malformed:header_again"
    is_trailer = fields[0].strip().casefold() in _TRAILERS and not _LETTER.search("".join(fields[1:]))
    return "malformed:trailer" if is_trailer else None


def _with_keys(
    values: Mapping[str, pa.Array | pa.ChunkedArray], records: Records, layout: Layout, position_of: Mapping[str, int]
) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The columns of the key with what malformed lines have at their places.

    It is right where what is wrong with the line comes after it. The row stays unusable; its record counts as delivered.
    """
    is_malformed = pc.is_valid(records.reasons)
    texts = records.texts.filter(is_malformed).to_pylist()
    fields = [text.partition("\n")[0].rstrip("\r").split(layout.delimiter) for text in texts]
    made = {}
    for name in layout.key:
        place = position_of.get(name)
        if place is not None:
            there = [line[place].strip().strip('"') if place < len(line) else None for line in fields]
            made[name] = pc.replace_with_mask(values[name], is_malformed, pa.array(there, pa.string()))
    return made


class _WithoutTrailer:
    """Blocks of whole lines without the trailer; `records` is the count in it once all blocks have been taken."""

    def __init__(self, blocks: Iterable[bytes], trailer: Trailer, delimiter: str, place: str) -> None:
        self._blocks = blocks
        self._trailer = trailer
        self._delimiter = delimiter
        self._place = place
        self.records = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises DeliveryError at the end if the last line that is not empty is no trailer, or one without a count."""
        held = b""
        for block in self._blocks:
            content = held + block
            start = content.rfind(b"\n", 0, len(content.rstrip())) + 1
            held = content[start:]
            yield content[:start]
        line = held[:HEAD_BYTES].decode("utf-8", errors="replace").rstrip()
        read = next(csv.reader([line], delimiter=self._delimiter, skipinitialspace=True)) or [""]
        fields = [field.strip().strip('"') for field in read]
        if fields[0].casefold() != self._trailer.begins.casefold():
            raise DeliveryError(f"{self._place}: the last line is no trailer, so that the file was cut short; deliver it again")
        stated = count_in(fields[self._trailer.records - 1]) if len(fields) >= self._trailer.records else None
        if stated is None:
            raise DeliveryError(f"{self._place}: its trailer has no number of records; deliver it again")
        self.records = stated - self._trailer.besides


def _without_header(blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield block[block.index(b"\n") + 1 :]
        yield from blocks


def row_schema(columns: Sequence[str]) -> pa.Schema:
    """The Arrow schema of parsed rows."""
    kinds = {"_line": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in (*LINE_COLUMNS, *columns)])


def row_ddl(columns: Sequence[str]) -> str:
    """The same schema as Spark DDL."""
    return ", ".join(f"`{name}` {'bigint' if name == '_line' else 'string'}" for name in (*LINE_COLUMNS, *columns))


def refusal_of(error: DeliveryError | StoreError) -> str:
    """The reason of the row that stands for a file which could not be read to its end."""
    return f"{REFUSED}{_NO_STORE if isinstance(error, StoreError) else ''}{error}"


def fault_of_refusal(reason: str) -> str:
    """What is wrong with the file. Raises StoreError where it is its store: then nothing is known of the delivery."""
    fault = reason.removeprefix(REFUSED)
    if fault.startswith(_NO_STORE):
        raise StoreError(fault.removeprefix(_NO_STORE))
    return fault


def parse_batches(
    batches: Iterator[pa.RecordBatch], columns: Sequence[str], layouts: Mapping[str, Layout]
) -> Iterator[pa.RecordBatch]:
    """Parse the files listed in `batches` (path, provider, file_id, sha256); runs on the workers.

    A file that cannot be read to its end has one more row, of line 0, with the reason `refused:` and what is wrong with it,
    and an empty text, so that not all of it is null (see bronze_rows). An error here would stop the files of all providers,
    and lose its message on the way to the driver.
    """
    for batch in batches:
        for file in batch.to_pylist():
            provider, file_id = file["provider"], file["file_id"]
            try:
                yield from parse_file(path_of(file["path"]), provider, file_id, columns, layouts[file_id], file["sha256"])
            except (DeliveryError, StoreError) as error:
                row = {"_provider": provider, "_file": file_id, "_line": 0, "_reason": refusal_of(error), "_raw": ""}
                yield pa.RecordBatch.from_pylist([row], schema=row_schema(columns))
