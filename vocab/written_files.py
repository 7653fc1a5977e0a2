"""Reads the files that people write: text in UTF-8, and tables as CSV."""

import codecs
import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str | Any, str | Any]
"""What a row of a CSV file has, by column."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class InvalidTextError(Exception):
    """A file is not what it has to be: the line, and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises InvalidTextError at the first line that is not UTF-8, or OSError where the file cannot be read.
    """
    content = path.read_bytes()
    if content.startswith(_UTF_16):
        raise InvalidTextError(1, "the file is UTF-16; save it as UTF-8")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidTextError(line, "a letter that is not UTF-8; save the file as UTF-8") from error


def read_rows(path: Path, columns: Iterable[str] = ()) -> list[tuple[int, Row]]:
    """The rows of a CSV file, each with the line that it ends at. What is beyond the columns of the header is below None.

    Raises InvalidTextError where it is no CSV file in UTF-8 or lacks one of `columns`, or OSError where it cannot be read.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InvalidTextError(1, f"lacks columns {', '.join(missing)}")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InvalidTextError(max(reader.reader.line_num, 1), f"not valid CSV: {error}") from error
