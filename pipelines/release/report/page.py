"""The report of a run as one HTML page that needs nothing else: no network, no script, no other file.

Everything on the page is escaped. Its figures must already be safe for those who are to see it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.progress import printable
from pipelines.quality.suppression import HIDDEN, SMALLEST_SHOWN, TOTAL
from pipelines.release.report.pictures import FlowFigure, MonthChart
from pipelines.release.report.sections import Cell, Edition, Section


@dataclass(frozen=True, slots=True)
class Folded:
    """Tables that are shown when somebody asks for them."""

    form: ClassVar[str] = "folded"

    summary: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class MonthCharts:
    """A chart for each table, with the numbers that it is drawn from, and the sources by their colours."""

    form: ClassVar[str] = "months"

    sources: tuple[str, ...]
    charts: tuple[tuple[MonthChart, Section], ...]


Block = Section | Folded | FlowFigure | MonthCharts


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page under a heading of its own. `name` is its place in links."""

    name: str
    title: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that somebody should look at, in the part that is named. Levels are bad, warn and good."""

    level: str
    text: str
    part: str


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A figure at the top of the page, as text, with a line of explanation."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report. `verdict` says in one sentence what became of the run."""

    title: str
    edition: Edition
    verdict: Notice
    facts: Mapping[str, Cell]
    figures: Sequence[KeyFigure]
    notices: Sequence[Notice]
    parts: Sequence[Part]


def html(page: Page) -> str:
    """The page as text."""
    return _environment().get_template("page.html").render(page=page, smallest=SMALLEST_SHOWN)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "words": words,
        "heading": heading,
        "shown": shown,
        "columns": columns_of,
        "bar": bar_of,
        "slug": slug,
    }
    environment.tests |= {"hidden_number": lambda value: value == HIDDEN}
    return environment


_CAPITALS: Final = {"gp": "GP", "cdm": "CDM", "omop": "OMOP", "id": "ID", "gib": "GiB"}

_PLAIN: Final = frozenset({"rule", "source", "reason", "list", "disposition", "stage", "state", "outcome", "severity"})
"""Columns whose texts are words of ours, written with `_` between them."""


def words(text: str) -> str:
    """A name of ours as people write it."""
    return " ".join(_CAPITALS.get(word, word) for word in text.split("_"))


def heading(text: str) -> str:
    """A name of ours as a heading."""
    written = words(text)
    return written[:1].upper() + written[1:]


def slug(text: str) -> str:
    """A text as the name of a place in the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def shown(value: Cell, column: str = "") -> str:
    """The text of a cell."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,}"
    if value == TOTAL:
        return "Total"
    return printable(words(value) if column in _PLAIN else value)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: whether it has numbers, or texts too short to break, and the number that fills a whole bar."""

    name: str
    is_numeric: bool
    is_short: bool
    full: float | None


def columns_of(section: Section) -> list[Column]:
    """The columns of a table that are not empty, in the order in which its rows name them. Its bars have one scale."""
    names = list(dict.fromkeys(name for row in section.rows for name, cell in row.items() if cell not in ("", None)))
    barred = [row.get(name) for row in section.rows for name in section.bars if TOTAL not in row.values()]
    is_share = any(str(cell).endswith("%") for cell in barred)
    full = 100.0 if is_share else max((amount for amount in map(_amount, barred) if amount), default=None)
    return [_column(name, [row.get(name) for row in section.rows], full if name in section.bars else None) for name in names]


_NUMBER: Final = re.compile(r"|\*|[-+>]?[\d,.]+%?")
_SHORT: Final = len("mental health")


def _column(name: str, cells: Sequence[Cell], full: float | None) -> Column:
    is_numeric = all(_NUMBER.fullmatch(shown(cell)) for cell in cells) and any(cell not in ("", None) for cell in cells)
    return Column(name, is_numeric, all(len(shown(cell)) <= _SHORT for cell in cells), full)


def bar_of(row: Mapping[str, Cell], column: Column) -> float | None:
    """How much of its place a bar fills, in per cent; None where there is none."""
    amount = _amount(row.get(column.name))
    if not column.full or not amount or TOTAL in row.values():
        return None
    return round(100 * amount / column.full, 1)


def _amount(cell: Cell) -> float | None:
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, str):
        share = re.fullmatch(r">?([\d.]+)%", cell)
        return float(share[1]) if share else None
    return float(cell)
