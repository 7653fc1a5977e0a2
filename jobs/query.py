"""Run SQL on a release: read-only, at the pinned versions of its tables."""

import csv
import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from typing import Annotated, Any

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.logs import reader_may_leave
from jobs.output import show_table
from pipelines.release.published import cdm_of, chosen_release, pinned_tables
from pipelines.release.reading import open_release, run_query

log = logging.getLogger(__name__)

app = new_app()


SHOWN_ROWS = 100
"""Rows that a table for people shows at most; --csv and --json write all of them."""


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='For example "select count(*) from person".')],
    release_id: Annotated[str | None, typer.Option("--release", help="A release; the current one unless given.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write all rows as CSV.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Run SQL (the dialect of DuckDB) on the tables of a release. Nothing can be changed.

    All rows come from one release, also while a run makes the next. The first are shown as a table; --csv and --json write all
    of them. Columns have the names that the query gives them; of two with one name the second has a number after it.
    """
    settings = settings_of(env, conf_dir, overrides)
    release = chosen_release(settings, release_id)
    with open_release(pinned_tables(settings, release), cdm_of(release)) as connection, reader_may_leave():
        columns, rows = run_query(connection, sql)
        columns = _distinct(columns)
        if json_lines:
            for row in rows:
                values = dict(zip(columns, map(_json_value, row), strict=True))
                sys.stdout.write(json.dumps(values, default=str, allow_nan=False) + "\n")
        elif as_csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        else:
            _show(release.release_id, columns, rows)
        sys.stdout.flush()


def _show(release_id: str, columns: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    shown = [dict(zip(columns, map(_cell, row), strict=True)) for row in islice(rows, SHOWN_ROWS)]
    show_table(f"release {release_id}", shown or [dict.fromkeys(columns)], as_stored=True)
    if next(rows, None) is not None:
        log.warning(f"only the first {SHOWN_ROWS} rows are shown; --csv writes all")


def _distinct(columns: Iterable[str]) -> list[str]:
    """The names of columns, those that are there already with the first number that no other has."""
    names: list[str] = []
    for column in columns:
        numbered = (f"{column}_{number}" for number in count(1))
        names.append(next(name for name in chain((column,), numbered) if name not in names))
    return names


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _json_value(value: Any) -> Any:
    """A value for JSON, which has no number that is infinite or none: null stands for these, within lists and structs too."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _json_value(item) for name, item in value.items()}
    return value


if __name__ == "__main__":
    start(app)
