"""Small numbers in what is shown to people: hidden, together with enough others that no total gives them away.

Applied to every table of counts that may be of few people, and by `shown` and `rounded` to a number by itself. A zero is
shown as a zero.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final, NamedTuple, TypeVar

SMALLEST_SHOWN: Final = 8
"""Counts from 1 to 7 are hidden, as NHS England asks of published figures."""

EVERYBODY: Final = 2**64 - 1
"""People as a set of bits: each has one of 64, which several may share, so that a set has at least as many people as bits."""

HIDDEN: Final = "*"
TOTAL: Final = "total"

_Part = TypeVar("_Part")

Counts = Mapping[str, Mapping[str, int]]

Place = tuple[str, str, str]
"""A cell of one of several tables: table, row and column."""

Suppressed = dict[str, dict[str, int | str]]


def shown(number: int, smallest_shown: int = SMALLEST_SHOWN) -> int | str:
    """A number that follows from no other that is shown."""
    return HIDDEN if 0 < number < smallest_shown else number


def rounded(number: int, smallest_shown: int = SMALLEST_SHOWN) -> int | str:
    """A number that is the sum of others which may be hidden: in tens, so that none of them follows from it."""
    return shown(round(number, -1) if number >= smallest_shown > 1 else number, smallest_shown)


def suppressed(counts: Counts, smallest_shown: int = SMALLEST_SHOWN) -> Suppressed:
    """A table of counts (row, column) with its totals, small numbers hidden.

    Others are hidden too, the smallest first, until every hidden number could be another one, whatever is shown: a hidden
    number is at least 1, because a zero is shown. What is hidden in a row or column does not add up to a small number itself.
    """
    return suppressed_together({TOTAL: counts}, {}, smallest_shown)[TOTAL]


def suppressed_together(
    tables: Mapping[str, Counts], broken_down: Mapping[str, tuple[str, str]], smallest_shown: int = SMALLEST_SHOWN
) -> dict[str, Suppressed]:
    """Tables of which some break down a column of another, which is not broken down from a third itself.

    `broken_down` has such a table by its name, with the other one and the column: the columns of the first add up to what
    this column has in the rows of the same names. What is hidden in one table is hidden in the other.
    """
    whole = {name: _with_totals(counts) for name, counts in tables.items()}
    parts = {column: name for name, column in broken_down.items() if name in whole}
    same = {
        (name, TOTAL, row): (other, row, column)
        for (other, column), name in parts.items()
        for row in whole[name][TOTAL]
        if column in whole[other].get(row, {})
    }
    places = {
        (name, row, column): n for name, table in whole.items() for row, cells in table.items() for column, n in cells.items()
    }
    numbers = {place: _Number(n, *_ends(place, parts)) for place, n in places.items() if place not in same}
    lines: dict[_Line, list[Place]] = defaultdict(list)
    for place in places:
        for line in _lines(place):
            lines[line].append(same.get(place, place))
    hidden = {place for place, number in numbers.items() if 0 < number.n < smallest_shown}
    while more := next(_exposed(numbers, lines, hidden, smallest_shown), None):
        hidden.add(more)
    return {
        name: {
            row: {
                column: HIDDEN if same.get((name, row, column), (name, row, column)) in hidden else n
                for column, n in cells.items()
            }
            for row, cells in table.items()
        }
        for name, table in whole.items()
    }


_Line = tuple[str, int, str]
"""A row (0) or a column (1) of a table by its name."""


class _Number(NamedTuple):
    """A number of the tables, as an arc from one line to another.

    In every line the parts add up to the total: what comes in by its arcs is what goes out. So numbers can change, with all
    lines still right, along a ring of arcs only.
    """

    n: int
    tail: _Line
    head: _Line


def _lines(place: Place) -> tuple[_Line, _Line]:
    name, row, column = place
    return (name, 0, row), (name, 1, column)


def _ends(place: Place, parts: Mapping[tuple[str, str], str]) -> tuple[_Line, _Line]:
    """Where the arc of a number begins and ends: those of totals run against the others, those of parts too.

    A column that is broken down is the same line as the totals of its parts. That line says no more than the others do, so
    its numbers lead from their row to the column of the parts.
    """
    name, row, column = place
    line, across = _lines(place)
    if (name, column) in parts:
        across = parts[name, column], 1, row
    runs_back = ((row == TOTAL) != (column == TOTAL)) != (name in parts.values())
    return (across, line) if runs_back else (line, across)


def _with_totals(counts: Counts) -> dict[str, dict[str, int]]:
    columns = list(dict.fromkeys(column for cells in counts.values() for column in cells))
    table = {row: {column: cells.get(column, 0) for column in columns} for row, cells in counts.items()}
    table[TOTAL] = {column: sum(cells[column] for cells in table.values()) for column in columns}
    return {row: {**cells, TOTAL: sum(cells.values())} for row, cells in table.items()}


def _exposed(
    numbers: Mapping[Place, _Number], lines: Mapping[_Line, list[Place]], hidden: Collection[Place], smallest_shown: int
) -> Iterator[Place]:
    """The next number to hide for each hidden one that can be worked out from the shown ones."""
    shown = {place: number for place, number in numbers.items() if number.n and place not in hidden}
    for _, places in sorted(lines.items()):
        if 0 < sum(numbers[place].n for place in places if place in hidden) < smallest_shown:
            yield from _smallest({place: shown[place] for place in places if place in shown})
    steps: dict[_Line, list[tuple[_Line, Place]]] = defaultdict(list)
    backward: dict[_Line, list[tuple[_Line, Place]]] = defaultdict(list)
    for place in hidden:
        n, tail, head = numbers[place]
        for start, end in ((tail, head), (head, tail)) if n > 1 else ((tail, head),):
            steps[start].append((end, place))
            backward[end].append((start, place))
    for place in sorted(hidden):
        n, tail, head = numbers[place]
        beyond = _reached(head, steps, place)
        if tail not in beyond and (n == 1 or head not in _reached(tail, steps, place)):
            bridges = {p: number for p, number in shown.items() if (number.tail in beyond) != (number.head in beyond)}
            before = _reached(tail, backward, place)
            closing = {p: number for p, number in bridges.items() if number.tail in before or number.head in before}
            yield from _smallest(closing or bridges)


def _smallest(shown: Mapping[Place, _Number]) -> Iterator[Place]:
    if shown:
        yield min(shown, key=lambda place: (shown[place].n, place))


def _reached(start: _Line, steps: Mapping[_Line, list[tuple[_Line, Place]]], without: Place) -> set[_Line]:
    """The lines that hidden numbers lead to: along an arc a number grows, against it a number above 1 shrinks."""
    reached, open_ends = {start}, [start]
    while open_ends:
        for line, place in steps.get(open_ends.pop(), ()):
            if place != without and line not in reached:
                reached.add(line)
                open_ends.append(line)
    return reached


def suppressed_breakdowns(
    total: int,
    breakdowns: Sequence[Mapping[_Part, int]],
    smallest_shown: int = SMALLEST_SHOWN,
    *,
    hides_total: bool = False,
    people: Sequence[Mapping[_Part, int]] = (),
) -> tuple[int | str, list[dict[_Part, int | str]]]:
    """A total, and the ways in which it is broken down into parts, small numbers hidden.

    `people` says for each breakdown whose rows its parts are, as sets of bits (EVERYBODY): of fewer people than
    `smallest_shown` a number is as small as if it were of so few rows; the caller says so of the total.

    Where the total is shown, the smallest of the other parts is hidden too if only one part is, if what is hidden adds up to a
    small number, or if it is as many as there are hidden parts, which are all 1 then. Where there is no other, the total is
    hidden; so it is where it is small or `hides_total`. A hidden total has a hidden part in each breakdown.
    """
    whose = people or [dict.fromkeys(parts, EVERYBODY) for parts in breakdowns]
    hidden = [
        {part for part, n in parts.items() if n and (n < smallest_shown or bits[part].bit_count() < smallest_shown)}
        for parts, bits in zip(breakdowns, whose, strict=True)
    ]
    is_hidden = hides_total or 0 < total < smallest_shown
    for parts, bits, few in zip(breakdowns, whose, hidden, strict=True):
        rest = sum(parts[part] for part in few)
        of_few = reduce(or_, (bits[part] for part in few), 0).bit_count() < smallest_shown
        if few and not is_hidden and (len(few) == 1 or rest < smallest_shown or rest == len(few) or of_few):
            others = [part for part, n in parts.items() if n and part not in few]
            few.update(sorted(others, key=lambda part: parts[part])[:1])
            is_hidden = not others
    for parts, few in zip(breakdowns, hidden, strict=True):
        if is_hidden and not few:
            few.update(sorted((part for part, n in parts.items() if n), key=lambda part: parts[part])[:1])
    shown = [
        {part: HIDDEN if part in few else n for part, n in parts.items()} for parts, few in zip(breakdowns, hidden, strict=True)
    ]
    return (HIDDEN if is_hidden and total else total), shown
