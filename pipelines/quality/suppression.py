"""Small numbers in what is shown to people: hidden, together with enough others that no total gives them away.

Applied to every table of counts that may be of few people. A zero is shown as a zero.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, TypeVar

SMALLEST_SHOWN: Final = 8
"""Counts from 1 to 7 are hidden, as NHS England asks of published figures."""

HIDDEN: Final = "*"
TOTAL: Final = "total"

_Part = TypeVar("_Part")

Counts = Mapping[str, Mapping[str, int]]


Place = tuple[str, str, str]
"""A cell of one of several tables: table, row and column."""

Suppressed = dict[str, dict[str, int | str]]


def suppressed(counts: Counts, smallest_shown: int = SMALLEST_SHOWN) -> Suppressed:
    """A table of counts (row, column) with its totals, small numbers hidden.

    Others are hidden too, the smallest first, until no hidden number follows from the shown ones and their totals, and
    what is hidden in a row or column does not add up to a small number itself.
    """
    return suppressed_together({TOTAL: counts}, (), smallest_shown)[TOTAL]


def suppressed_together(
    tables: Mapping[str, Counts], same: Collection[tuple[Place, Place]], smallest_shown: int = SMALLEST_SHOWN
) -> dict[str, Suppressed]:
    """Tables of which some cells are the same number, such as a total that another table breaks down.

    `same` are pairs of such cells, totals included; pairs with a cell that is not there are passed over. What is hidden in one
    table is hidden in the other, and each table then hides as much more as `suppressed` would.
    """
    whole = {name: _with_totals(counts) for name, counts in tables.items()}
    hidden = {
        name: {(row, column) for row, cells in table.items() for column, n in cells.items() if 0 < n < smallest_shown}
        for name, table in whole.items()
    }
    pairs = [pair for pair in same if all(column in whole.get(name, {}).get(row, {}) for name, row, column in pair)]
    is_stable = False
    while not is_stable:
        for name, table in whole.items():
            while more := next(_exposed(table, hidden[name], smallest_shown), None):
                hidden[name].add(more)
        before = sum(map(len, hidden.values()))
        for pair in pairs:
            if any((row, column) in hidden[name] for name, row, column in pair):
                for name, row, column in pair:
                    hidden[name].add((row, column))
        is_stable = before == sum(map(len, hidden.values()))
    return {
        name: {
            row: {column: HIDDEN if (row, column) in hidden[name] else n for column, n in cells.items()}
            for row, cells in table.items()
        }
        for name, table in whole.items()
    }


_Cell = tuple[str, str]


def _with_totals(counts: Counts) -> dict[str, dict[str, int]]:
    columns = list(dict.fromkeys(column for cells in counts.values() for column in cells))
    table = {row: {column: cells.get(column, 0) for column in columns} for row, cells in counts.items()}
    table[TOTAL] = {column: sum(cells[column] for cells in table.values()) for column in columns}
    return {row: {**cells, TOTAL: sum(cells.values())} for row, cells in table.items()}


def _exposed(table: Mapping[str, Mapping[str, int]], hidden: set[_Cell], smallest_shown: int) -> Iterator[_Cell]:
    """The next cell to hide for each hidden number that can be worked out from the shown ones."""
    shown = {
        (row, column): n for row, cells in table.items() for column, n in cells.items() if n and (row, column) not in hidden
    }
    for side in (0, 1):
        for name in sorted({cell[side] for cell in hidden}):
            if sum(table[row][column] for row, column in hidden if (row, column)[side] == name) < smallest_shown:
                yield from _smallest(shown, [cell for cell in shown if cell[side] == name])
    for cell in sorted(hidden):
        around = _linked(cell[0], hidden - {cell})
        if _COLUMN + cell[1] not in around:
            yield from _smallest(shown, [c for c in shown if (c[0] in around) != (_COLUMN + c[1] in around)])


_COLUMN: Final = "\x00"
"""Tells the name of a column from that of a row where both are in one set."""


def _smallest(shown: Mapping[_Cell, int], candidates: list[_Cell]) -> Iterator[_Cell]:
    if candidates:
        yield min(candidates, key=lambda cell: (shown[cell], cell))


def _linked(row: str, hidden: set[_Cell]) -> set[str]:
    """Rows and columns that hidden cells link to a row.

    A hidden number follows from the shown ones exactly if no other chain of hidden numbers links its row to its column.
    """
    reached, open_ends = {row}, [row]
    while open_ends:
        end = open_ends.pop()
        for cell in hidden:
            ends = (cell[0], _COLUMN + cell[1])
            if end in ends:
                new = [name for name in ends if name not in reached]
                reached.update(new)
                open_ends.extend(new)
    return reached


def suppressed_parts(parts: Mapping[_Part, int], smallest_shown: int = SMALLEST_SHOWN) -> dict[_Part, int | str]:
    """The parts of a total that is shown elsewhere, small numbers hidden.

    The smallest of the others is hidden too where only one part is, or where what is hidden adds up to a small number. A total
    that is small is hidden itself and gives nothing away.
    """
    hidden = {part for part, n in parts.items() if 0 < n < smallest_shown}
    others = [part for part, n in parts.items() if n >= smallest_shown]
    if others and hidden and (len(hidden) == 1 or sum(parts[part] for part in hidden) < smallest_shown):
        hidden.add(min(others, key=lambda part: parts[part]))
    return {part: HIDDEN if part in hidden else n for part, n in parts.items()}
