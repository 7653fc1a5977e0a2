"""Where the bars, bands and labels of a report's pictures lie. The page draws them; nothing is drawn here.

Only numbers that may be shown decide a width or a height. What is hidden has the same thin mark whatever it is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

Number = int | str
"""A number of rows, or the mark of a hidden one."""

_THIN: Final = 2.0
"""The least height of a bar, and the width of a band whose number is hidden."""

_BAR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A group of rows of the flow picture. `kind` is how it is coloured."""

    name: str
    label: str
    rows: Number
    kind: str


@dataclass(frozen=True, slots=True)
class Link:
    """Rows that go from one node to another."""

    start: str
    end: str
    rows: Number


@dataclass(frozen=True, slots=True)
class Flow:
    """Columns of nodes, each under a heading, and the links between neighbouring columns."""

    headings: tuple[str, ...]
    columns: tuple[tuple[Node, ...], ...]
    links: tuple[Link, ...]

    def part(self, first: int, last: int | None = None) -> "Flow":
        """Some neighbouring columns. What ends in the first of them, where columns before it are left out, is left out too."""
        columns = list(self.columns[first:last])
        starts = {link.start for link in self.links}
        if first and columns:
            columns[0] = tuple(node for node in columns[0] if node.name in starts)
        names = {node.name for column in columns for node in column}
        links = tuple(link for link in self.links if {link.start, link.end} <= names)
        return Flow(self.headings[first:last], tuple(columns), links)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a flow picture: its width, that of the labels of its last column, the height of its longest column, and the
    lines of a label.
    """

    name: str
    width: float
    label: float
    tall: float
    lines: int

    def columns(self, number: int) -> tuple[float, ...]:
        """The left edges of a number of columns."""
        return tuple(place * (self.width - self.label) / max(1, number - 1) for place in range(number))


@dataclass(frozen=True, slots=True)
class Bar:
    """A node as a rectangle, and where its label is written."""

    node: Node
    x: float
    y: float
    height: float
    label: float

    @property
    def width(self) -> float:
        """All bars are equally wide."""
        return _BAR


@dataclass(frozen=True, slots=True)
class Band:
    """A link as a path. `is_hidden`: its width says nothing."""

    path: str
    kind: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class FlowPicture:
    """A flow picture of one size."""

    shape: Shape
    height: float
    headings: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...]
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class FlowFigure:
    """A flow picture, wide, and narrow in two parts, with what it says to those who do not see it."""

    form: ClassVar[str] = "flow"

    description: str
    note: str
    pictures: tuple[FlowPicture, ...]


WIDE: Final = Shape("wide", 960, 200, 330, 1)
NARROW: Final = Shape("narrow", 372, 136, 260, 2)


def flow_picture(flow: Flow, shape: Shape) -> FlowPicture:
    """Lay a flow out. Bars of one picture have one scale; bands are as wide at each end as that end's bar allows."""
    scale = shape.tall / max(1, *(sum(_shown(node.rows) for node in column) for column in flow.columns))
    label = 17.0 * shape.lines
    top, gap = 26.0, 4.0
    bottom = top
    bars: dict[str, Bar] = {}
    edges = shape.columns(len(flow.columns))
    for x, column in zip(edges, flow.columns, strict=True):
        y = top
        for node in column:
            height = max(_THIN, _shown(node.rows) * scale)
            place = max(height, label)
            bars[node.name] = Bar(node, x, y + (place - height) / 2, height, y + (place - label) / 2 + 12)
            y += place + gap
            bottom = max(bottom, y)
    headings = tuple(zip(edges, flow.headings, strict=True))
    return FlowPicture(shape, bottom, headings, tuple(bars.values()), _bands(flow, bars, scale))


def _bands(flow: Flow, bars: Mapping[str, Bar], scale: float) -> tuple[Band, ...]:
    going: dict[str, int] = defaultdict(int)
    coming: dict[str, int] = defaultdict(int)
    for link in flow.links:
        going[link.start] += _shown(link.rows)
        coming[link.end] += _shown(link.rows)
    left: dict[str, float] = defaultdict(float)
    right: dict[str, float] = defaultdict(float)
    bands = []
    for link in flow.links:
        start, end = bars[link.start], bars[link.end]
        is_hidden = isinstance(link.rows, str)
        thick = (_thickness(link, start, going[link.start], scale), _thickness(link, end, coming[link.end], scale))
        ends = (start.x + _BAR, start.y + left[link.start], end.x, end.y + right[link.end])
        bands.append(Band(_path(ends, thick), end.node.kind, is_hidden))
        if not is_hidden:
            left[link.start] += thick[0]
            right[link.end] += thick[1]
    return tuple(bands)


def _thickness(link: Link, bar: Bar, all_rows: int, scale: float) -> float:
    """How wide a band is where it meets a bar: never more than its share of the bar."""
    return min(scale, bar.height / all_rows) * _shown(link.rows) if _shown(link.rows) else _THIN / 2


def _path(ends: tuple[float, float, float, float], thick: tuple[float, float]) -> str:
    x, y, to_x, to_y = ends
    middle = (x + to_x) / 2
    there = f"M{x:.1f} {y:.1f}C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    lower, to_lower = y + thick[0], to_y + thick[1]
    back = f"L{to_x:.1f} {to_lower:.1f}C{middle:.1f} {to_lower:.1f} {middle:.1f} {lower:.1f} {x:.1f} {lower:.1f}Z"
    return there + back


def _shown(rows: Number) -> int:
    return rows if isinstance(rows, int) else 0


@dataclass(frozen=True, slots=True)
class Column:
    """A part of a month's column: the rows of one source."""

    source: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class MonthChart:
    """The rows of one table by month, the sources one upon another.

    `hidden` are the tops of months with hidden numbers, `ticks` those of Januaries, `ends` the first and the last month.
    """

    title: str
    description: str
    top: int
    columns: tuple[Column, ...]
    hidden: tuple[tuple[float, float], ...]
    ticks: tuple[float, ...]
    ends: tuple[str, str]


CHART_WIDTH: Final = 336.0
CHART_HEIGHT: Final = 84.0
"""The plot itself, between its line and its greatest number."""

COLUMN_SHARE: Final = 0.78
"""The share of a month's place that its column fills."""


def month_chart(
    title: str, rows: Mapping[str, Mapping[str, Number]], months: Sequence[str], sources: Sequence[str]
) -> MonthChart:
    """Lay out a chart. Numbers that may not be shown are left out of the columns."""
    top = max((sum(_shown(cells.get(source, 0)) for source in sources) for cells in rows.values()), default=0)
    step = CHART_WIDTH / max(1, len(months))
    columns, hidden = [], []
    for place, month in enumerate(months):
        y = CHART_HEIGHT
        cells = rows.get(month, {})
        for number, source in enumerate(sources):
            height = CHART_HEIGHT * _shown(cells.get(source, 0)) / top if top else 0.0
            if height:
                y -= height
                columns.append(Column(number, place * step, y, height))
        if any(isinstance(cells.get(source, 0), str) for source in sources):
            hidden.append(((place + COLUMN_SHARE / 2) * step, y))
    ticks = tuple(place * step for place, month in enumerate(months) if month.endswith("-01"))
    description = f"Rows of {title} by month and source, {months[0]} to {months[-1]}. The numbers are in the table below."
    return MonthChart(title, description, top, tuple(columns), tuple(hidden), ticks, (months[0], months[-1]))
