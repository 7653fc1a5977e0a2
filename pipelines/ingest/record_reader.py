"""Where records and fields end: one rule for every file.

- Fields are separated by the delimiter, records by line ends. A line of nothing but white space is no record.
- A quote at the start of a field opens a quoted field, in which line ends and delimiters are text and two quotes are one. A
  single quote before a delimiter or a line end closes it; blanks may stand between.
- A single quote before anything else is text: the sender does not double its quotes. Up to the end of this field no two
  quotes are one, and a quote before a line end only closes it if no fields are missing. A quote in a field that does not
  begin with one is text as well.
- A quoted field is never closed if the file ends first, or if a single quote comes where a field could begin: that is taken
  for the opening quote of a later field. The lines from the start of the record to the one in which such a field opens are
  malformed, and reading goes on with the next line.
"""

import re
from typing import NamedTuple

_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"')
_BLANKS = re.compile(" *+")


class Record(NamedTuple):
    """A record: its fields, None if one is never closed; where the next one begins; how far the text was looked at."""

    fields: list[str] | None
    end: int
    seen: int


class RecordReader:
    """Reads records out of text that ends with a line end. `width` is the number of fields that a record should have."""

    def __init__(self, text: str, delimiter: str, width: int) -> None:
        self._text = text
        self._delimiter = delimiter
        self._width = width
        self._field_ends = (delimiter, "\n")
        self._unquoted = re.compile(f"[^{re.escape(delimiter)}\n]*+")

    def record(self, start: int) -> Record:
        """The record that begins at `start`."""
        text, line_end = self._text, self._text.index("\n", start)
        if text.find('"', start, line_end) < 0:
            return Record(text[start:line_end].split(self._delimiter), line_end + 1, line_end + 1)
        fields: list[str] = []
        while True:
            if text.startswith('"', start):
                value, end = self._quoted(start, is_last=len(fields) + 1 >= self._width)
                if value is None:
                    return Record(None, text.index("\n", start) + 1, end)
            else:
                end = self._end_of(self._unquoted, start)
                value = text[start:end]
            fields.append(value)
            start = end + 1
            if text[end] == "\n":
                return Record(fields, start, start)

    def _quoted(self, start: int, *, is_last: bool) -> tuple[str | None, int]:
        """The quoted field that opens at `start` and where it ends; None if it is never closed, and where that shows.

        `is_last` says that no field is missing after it.
        """
        text = self._text
        opened = _QUOTED.match(text, start)
        if opened is None:
            return None, len(text)
        quote = first = opened.end() - 1
        while quote >= 0:
            end = self._end_of(_BLANKS, quote + 1)
            if text[end] == self._delimiter or (text[end] == "\n" and (is_last or quote == first)):
                return opened[1].replace('""', '"') + text[first:quote] + text[quote + 1 : end], end
            if text[quote - 1] in self._field_ends:
                return None, quote
            quote = text.find('"', quote + 1)
        return None, len(text)

    def _end_of(self, what: re.Pattern[str], start: int) -> int:
        found = what.match(self._text, start)
        return found.end() if found else start
