"""Lines of text to records of fields, in bounded memory.

`pyarrow.csv` splits those stretches of a file in which every quote is where RFC 4180 has it and every record has the fields of
the header, for there it agrees with the rule of `RecordReader`, which splits all others.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.ingest.record_reader import RecordReader
from pipelines.ingest.text import UNDECODABLE

LONGEST_RECORD = 64 << 20
"""A record is held in memory: a quoted field that is still open after so many bytes counts as never closed."""

PIECE = 1 << 20
FEWEST_AT_A_TIME = 1 << 12
"""Characters after which `_split` stops, so that the rest is given to Arrow again: so many, and the double of what it was each
time that Arrow gets no farther than that."""

_FIRST_LINE = 2
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END, _QUOTE = 10, 34
_EMPTY_LINES = re.compile("(?: *+\n)++")
_UNDECODABLE = re.compile("[\udc80-\udcff]")


class Records(NamedTuple):
    """Some records: their first lines, their fields by position, and for malformed ones reason and text, else null."""

    lines: pa.Array
    fields: Sequence[pa.Array | pa.ChunkedArray]
    reasons: pa.Array
    texts: pa.Array


class _Taken(NamedTuple):
    """What was split off the start of some text: records, bytes and lines; whether what follows is an unfinished record."""

    records: Records
    size: int
    lines: int
    rest_is_unfinished: bool


def records_of(blocks: Iterable[bytes], delimiter: str, width: int) -> Iterator[Records]:
    """The records after the header of a file, from UTF-8 in blocks of whole lines as `lines_of` gives them.

    A record with more or fewer fields than `width` is malformed. The memory it takes does not grow with the file.
    """
    waiting = _Waiting(blocks)
    line, unfinished, at_a_time = _FIRST_LINE, b"", FEWEST_AT_A_TIME
    while content := unfinished + (more := waiting.at_least(_wanted(len(unfinished)))):
        taken = _split_by_arrow(content, line, delimiter, width)
        if taken is None:
            taken = _split(content, line, delimiter, width, is_last=not more, at_a_time=at_a_time)
            at_a_time = min(2 * at_a_time, PIECE)
        elif taken.size > at_a_time:
            at_a_time = FEWEST_AT_A_TIME
        if len(taken.records.lines):
            yield taken.records
        line += taken.lines
        unfinished = content[taken.size :]
        if not taken.rest_is_unfinished:
            waiting.put_back(unfinished)
            unfinished = b""


def _wanted(unfinished: int) -> int:
    """How many bytes to read after an unfinished record: as many again, so that it is not looked through for every block."""
    return max(min(unfinished, LONGEST_RECORD - unfinished), 1)


class _Waiting:
    """Blocks that are still to be split."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._put_back: deque[bytes] = deque()
        self._blocks = iter(blocks)

    def at_least(self, size: int) -> bytes:
        """The next blocks, of so many bytes together if there are as many."""
        parts: list[bytes] = []
        while size > 0:
            block = self._put_back.popleft() if self._put_back else next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            size -= len(block)
        return b"".join(parts)

    def put_back(self, content: bytes) -> None:
        """Let whole lines wait again, in pieces."""
        self._put_back.extendleft(reversed(list(_pieces(content))))


def _pieces(content: bytes) -> Iterator[bytes]:
    """Whole lines in pieces of about PIECE bytes."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start + PIECE - 1) + 1 or len(content)
        yield content[start:end]
        start = end


def _split_by_arrow(content: bytes, line: int, delimiter: str, width: int) -> _Taken | None:
    """The records at the start of `content` that are beyond doubt; None where there is none."""
    if width < 2 or content.startswith(_BYTE_ORDER_MARK) or content.isspace():
        return None
    ends, lines, end = _plain_ends(content, delimiter)
    starts = np.concatenate(([0], lines[:-1] + 1)) + line
    is_record = np.diff(ends, prepend=-1) > 1  # Arrow passes over empty lines too
    starts, ends, lines = starts[is_record], ends[is_record], lines[is_record]
    table = _table(content, ends, lines, delimiter, width)
    if table is None:
        return None
    rows = table.num_rows
    nulls = pa.nulls(rows, pa.string())
    records = Records(pa.array(starts[:rows], pa.int64()), table.columns, nulls, nulls)
    is_all = rows == len(ends) and end == len(content)
    return _Taken(records, int(ends[rows - 1]) + 1, int(lines[rows - 1]) + 1, rest_is_unfinished=is_all)


Positions = npt.NDArray[np.int64]


def _table(content: bytes, ends: Positions, lines: Positions, delimiter: str, width: int) -> pa.Table | None:
    """The records that end at `ends`, or those before the first one that has not `width` fields; None if that leaves none."""
    names = [str(position) for position in range(width)]
    wrong: list[int] = []

    def stop_at(row: pacsv.InvalidRow) -> str:
        wrong.append(row.number - 1)
        return "error"

    while len(ends):
        size = int(ends[-1]) + 1
        try:
            return pacsv.read_csv(
                pa.py_buffer(memoryview(content)[:size]),
                read_options=pacsv.ReadOptions(column_names=names, use_threads=False, block_size=size + 1),
                parse_options=pacsv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=len(ends) <= int(lines[-1]),
                    invalid_row_handler=stop_at,
                ),
                convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
        except pa.ArrowInvalid:
            if not wrong:
                return None
            ends = ends[: wrong.pop()]
    return None


def _plain_ends(content: bytes, delimiter: str) -> tuple[Positions, Positions, int]:
    """Where records and empty lines end: positions, and counts of the line ends before them. And how far there is no doubt.

    A quote that is out of place is doubt. Quotes open and close in turn; they are in place if each that opens stands after a
    delimiter, a line end or the quote before it, and each that closes before one of these.
    """
    undecodable = -1 if content.isascii() else content.find(UNDECODABLE)
    end = len(content) if undecodable < 0 else content.rfind(b"\n", 0, undecodable) + 1
    letters = np.frombuffer(content, dtype=np.uint8)[:end]
    line_ends = np.flatnonzero(letters == _LINE_END)
    lines = np.arange(len(line_ends))
    if b'"' in content:
        quotes = np.flatnonzero(letters == _QUOTE)
        beside = np.where(np.arange(len(quotes)) % 2, 1, -1)  # before the first letter there is the last one, a line end
        in_place = _outside(delimiter)[letters[quotes + beside]]
        if not in_place.all():
            quotes, end = quotes[: in_place.argmin()], int(quotes[in_place.argmin()])
        before = np.searchsorted(quotes, line_ends)
        lines = np.flatnonzero((before % 2 == 0) & (line_ends < end))
    return line_ends[lines], lines, end


def _outside(delimiter: str) -> npt.NDArray[np.bool_]:
    """For each byte, whether it may stand on the outer side of a quote."""
    outside = np.zeros(256, dtype=np.bool_)
    outside[[_LINE_END, _QUOTE, ord(delimiter)]] = True
    return outside


def _split(content: bytes, line: int, delimiter: str, width: int, *, is_last: bool, at_a_time: int = PIECE) -> _Taken:
    """The first records that are complete in `content`, up to so many characters and a record more.

    With `is_last` nothing follows that could complete the last one.
    """
    text = content.decode("utf-8", errors="surrogatepass")
    read = RecordReader(text, delimiter, width)
    rows = _Rows(width, may_be_undecodable=UNDECODABLE in content)
    start, first, starts_again = 0, line, False
    while start < len(text) and not starts_again:
        if empty := _EMPTY_LINES.match(text, start):
            line += text.count("\n", start, empty.end())
            start = empty.end()
            continue
        fields, end, seen = read.record(start)
        if fields is None and seen == len(text) and not is_last and seen - start <= LONGEST_RECORD:
            break
        record = text[start : end - 1]
        if record.strip() or delimiter in record:
            rows.add(line, record, fields)
        line += record.count("\n") + 1
        starts_again = end > at_a_time or seen - end > PIECE
        start = end
    size = len(text[:start].encode("utf-8", errors="surrogatepass"))
    return _Taken(rows.records(), size, line - first, rest_is_unfinished=not starts_again)


class _Rows:
    """Records that become columns."""

    def __init__(self, width: int, *, may_be_undecodable: bool) -> None:
        self._width = width
        self._may_be_undecodable = may_be_undecodable
        self._lines: list[int] = []
        self._fields: list[Sequence[str | None]] = []
        self._reasons: list[str | None] = []
        self._texts: list[str | None] = []

    def add(self, line: int, text: str, fields: Sequence[str] | None) -> None:
        """Add a record with its first line and its whole text; `fields` is None where one of them is never closed."""
        reason = self._fault(text, fields)
        self._lines.append(line)
        self._fields.append([None] * self._width if reason or fields is None else fields)
        self._reasons.append(reason)
        self._texts.append(_UNDECODABLE.sub("\ufffd", text) if reason else None)

    def _fault(self, text: str, fields: Sequence[str] | None) -> str | None:
        if self._may_be_undecodable and _UNDECODABLE.search(text):
            return "malformed:encoding"
        if fields is None:
            return "malformed:unclosed_quote"
        if len(fields) < self._width:
            return "malformed:too_few_fields"
        return "malformed:too_many_fields" if len(fields) > self._width else None

    def records(self) -> Records:
        """The records so far."""
        columns = zip(*self._fields, strict=True) if self._fields else [()] * self._width
        fields = [pa.array(column, pa.string()) for column in columns]
        reasons, texts = pa.array(self._reasons, pa.string()), pa.array(self._texts, pa.string())
        return Records(pa.array(self._lines, pa.int64()), fields, reasons, texts)
