"""Results on stdout: tables for people, JSON lines for machines."""

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.logs import json_lines, shown
from pipelines.progress import Field

_UNCUT = 1_000_000
"""The width where nobody looks at a terminal: a table takes as much of it as its texts are long, and none is cut."""


def show_table(title: str, rows: Sequence[Mapping[str, Field]], *, grouped: bool = True) -> None:
    """Show a result: a table for people, one JSON object a row for machines.

    `grouped` sets off the thousands of counts; the ids in columns `..._id` never are, so that they can be copied.
    """
    if json_lines():
        for row in rows:
            sys.stdout.write(json.dumps({"table": title, **row}) + "\n")
        sys.stdout.flush()
        return
    table = Table()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*[escape(shown(row.get(name), grouped and not name.endswith("_id"))) for name in columns])
    console = Console(width=None if sys.stdout.isatty() else _UNCUT)
    console.print(escape(title), style="italic", highlight=False, soft_wrap=True)
    console.print(table)


def show_facts(title: str, facts: Mapping[str, Field]) -> None:
    """Show what is known of one thing: a line for each fact for people, one JSON object for machines."""
    if json_lines():
        show_table(title, [facts])
    else:
        show_table(title, [{"": name.replace("_", " "), "value": value} for name, value in facts.items()])
