"""Small files with content that breaks CSV readers: lines of the wrong length, quoted newlines, an unclosed quote."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.contracts.source import ColumnType, Entity, Identifier
from pipelines.synthetic.formats import FileFormat, csv_line
from pipelines.synthetic.traps import Field

FEWEST_ROWS = 200
"""An entity with fewer rows of the chosen provider gets no such file."""
GOOD_ROWS = 24
BAD_LINES = 3
TEXTS = (Identifier.FREE_TEXT, Identifier.NAME, Identifier.ADDRESS, None)
"""Columns that may contain a newline, the most plausible first."""


@dataclass(frozen=True)
class OddFile:
    """The part of the file name, the content (UTF-8, without header) and the number of records."""

    part: str
    content: bytes
    records: int


def draw_odd_rows(plot: Field, provider: str) -> np.ndarray:
    """Rows of ordinary people that a provider's first delivery has in the malformed files instead of the main file."""
    providers = plot.table["_provider"].combine_chunks().dictionary_encode()
    names = providers.dictionary.to_pylist()
    if provider not in names:
        return np.empty(0, dtype=np.int64)
    there = (providers.indices.to_numpy() == names.index(provider)) & plot.ordinary & (plot.table["_night"].to_numpy() == 0)
    rows = np.flatnonzero(there)
    if len(rows) < FEWEST_ROWS:
        return np.empty(0, dtype=np.int64)
    return np.sort(plot.rng.choice(rows, GOOD_ROWS, replace=False))


def odd_files(plot: Field, rows: np.ndarray, columns: list[str], layout: FileFormat) -> list[OddFile]:
    """The malformed rows in two files: one with lines of the wrong length and quoted newlines, one with an unclosed quote."""
    values = [[row[name] for name in columns] for row in plot.table.take(pa.array(rows)).to_pylist()]
    half = len(values) // 2
    position = _text_position(plot.entity, columns)
    first = [list(row) for row in values[:half]]
    if position is not None:
        for row in first[:BAD_LINES]:
            row[position] = f"{row[position] or 'see'}{layout.line_end}letter"
        plot.note("quoted_newline", BAD_LINES)
    lines = [csv_line(row, layout) for row in first]
    lines += [csv_line(row[:-2], layout) for row in values[:BAD_LINES]]
    lines += [csv_line([*row, "", "surplus"], layout) for row in values[:BAD_LINES]]
    plot.note("too_few_fields", BAD_LINES)
    plot.note("too_many_fields", BAD_LINES)
    mixed = OddFile("p2", b"".join(lines), len(lines))

    lines = [csv_line(row, layout) for row in values[half:]]
    end = layout.line_end.encode("ascii")
    unclosed = b'"' + csv_line([(value or "").replace('"', "") for value in values[half]], layout)
    lines.insert(len(lines) // 2, unclosed if unclosed.count(b'"') % 2 else b'"' + end)
    plot.note("unclosed_quote", 1)
    return [mixed, OddFile("p3", b"".join(lines), len(lines))]


def _text_position(entity: Entity, columns: list[str]) -> int | None:
    """The position of a text column that may contain a newline."""
    for kind in TEXTS:
        for position, name in enumerate(columns):
            column = entity.columns[name]
            if column.identifier is kind and column.type is ColumnType.TEXT and name not in (*entity.key, *entity.version):
                return position
    return None
