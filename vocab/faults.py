"""Faults of files, collected so that all of them can be told at once."""


def located(file: str, fault: str, rows: int, line: int) -> str:
    """One fault of a file: where it was first met, and how many further rows have it."""
    return f"{file} line {line}: {fault}" + (f" (and {rows - 1} more)" if rows > 1 else "")


class Faults:
    """Lines by file and fault: a fault of a whole column is told once."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], list[int]] = {}

    def add(self, file: str, line: int, fault: str) -> None:
        """A line of a file has a fault."""
        self._lines.setdefault((file, fault), []).append(line)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        return "; ".join(located(file, fault, len(lines), min(lines)) for (file, fault), lines in self._lines.items())
