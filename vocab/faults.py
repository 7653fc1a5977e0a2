"""Collects the faults of files, so that one error can list all of them."""

from collections.abc import Iterable
from pathlib import Path

from vocab.written_files import InvalidTextError, Row, read_rows


def located(file: str, fault: str, rows: int, line: int) -> str:
    """One fault of a file: the line of its first occurrence, and how many more rows have it."""
    return f"{file} line {line}: {fault}" + (f" (and {rows - 1} more)" if rows > 1 else "")


class Faults:
    """Lines by file and fault, so that a fault of a whole column is reported once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}

    def add(self, file: str, line: int, fault: str) -> None:
        """Record that a line of a file has a fault."""
        self._lines.setdefault((file, fault), []).append(line)

    def rows_of(self, path: Path, columns: Iterable[str]) -> list[tuple[int, Row]]:
        """The rows of a CSV file, as `read_rows` gives them; none where it cannot be read, which is recorded."""
        try:
            return read_rows(path, columns)
        except InvalidTextError as error:
            self.add(path.name, error.line, error.reason)
        except OSError as error:
            self.add(path.name, 1, f"cannot be read: {error.strerror}")
        return []

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        return "; ".join(located(file, fault, len(lines), min(lines)) for (file, fault), lines in self._lines.items())
