"""Results on stdout: tables for people, JSON lines for machines."""

import json
import sys
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from jobs.logs import PipedConsole, json_lines, reader_may_leave, shown
from pipelines.progress import Field

_UNCUT = 1_000_000
"""The width where nobody looks at a terminal: a table takes as much of it as its texts are long, and none is cut."""


_IDS = ("_id", "pid")
"""How the names of columns end that have ids."""


@reader_may_leave()
def show_table(title: str, rows: Sequence[Mapping[str, Field]], *, as_stored: bool = False) -> None:
    """Show a result: a table for people, one JSON object a row for machines.

    For machines `table` is the title, and a table that a row is about is its `name`. For people the thousands of counts are set
    off, but not in ids (columns `..._id` and `pid`), so that they can be copied, and the names of columns are shown as words.
    `as_stored` leaves numbers and names as they are. No word is cut or broken, however narrow the terminal is.
    """
    if json_lines():
        for row in rows:
            named = {"name" if column == "table" else column: value for column, value in row.items()}
            sys.stdout.write(json.dumps({"table": title, **named}) + "\n")
        sys.stdout.flush()
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[shown(row.get(name), not (as_stored or name.endswith(_IDS))) for name in names] for row in rows]
    headers = [name if as_stored else name.replace("_", " ") for name in names]
    console = PipedConsole(width=None if sys.stdout.isatty() else _UNCUT)
    console.print(escape(title), style="italic", highlight=False, soft_wrap=True)
    widths = [max(_longest_word(text) for text in column) for column in zip(headers, *cells, strict=True)]
    if sum(widths) + _BORDER * len(widths) >= console.width:
        _show_as_blocks(console, headers, cells)
        return
    table = Table()
    for name, header, width in zip(names, headers, widths, strict=True):
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(escape(header), justify="right" if numeric else "left", min_width=width)
    for line in cells:
        table.add_row(*map(escape, line))
    console.print(table)


_BORDER = 3
"""What a table takes for each column beside its texts."""


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)


def _show_as_blocks(console: PipedConsole, headers: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """A line for each value, where the terminal is too narrow for the longest words of all columns: no id is ever cut."""
    longest = max(map(len, headers))
    for row in cells:
        lines = [f"  {header:{longest}}  {text}".rstrip() for header, text in zip(headers, row, strict=True) if text]
        console.print(escape("\n".join(lines)) + "\n", highlight=False, soft_wrap=True)


def show_facts(title: str, facts: Mapping[str, Field]) -> None:
    """Show what is known of one thing: a line for each fact for people, one JSON object for machines."""
    if json_lines():
        show_table(title, [facts])
    else:
        show_table(title, [{"": name.replace("_", " "), "value": value} for name, value in facts.items()])
