"""Trace a row of a release back to its rule, file and line, or a delivered line to what became of it."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    enclose,
    new_app,
    settings_of,
    start,
)
from jobs.logs import json_lines
from jobs.output import show_table
from pipelines.release.published import chosen_release
from pipelines.settings import storage_paths
from pipelines.tracing.sections import Section

if TYPE_CHECKING:
    from pipelines.mapping.spec import Rule
    from pipelines.tracing.lake import Lake
    from pipelines.tracing.reasons import Judged

log = logging.getLogger(__name__)

app = new_app()

LARGEST_ID = 2**53
"""Ids of this project are below it; what a column cannot hold is refused before anything is read."""


@app.command()
def trace(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="A table of a release, such as measurement.")] = None,
    row_id: Annotated[
        int | None, typer.Argument(metavar="ID", min=0, max=LARGEST_ID, help="The id of a row; of death the person.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A delivered file: SOURCE/PROVIDER/FOLDER/FILE, or as much of its end as is unique."),
    ] = None,
    line: Annotated[int | None, typer.Option(min=1, max=LARGEST_ID, help="The line of the file, the header counted.")] = None,
    release_id: Annotated[str | None, typer.Option("--release", help="A release; the current one unless given.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Records shown at most, where a row is of many.")] = 20,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    as_json: JsonLines = False,
) -> None:
    """Trace a row of a release back to its rule, file and line, or a delivered line to what became of it.

    TABLE ID shows the rule, the concept map, the silver row and its values; file, line and delivery only to an account that
    may read the restricted root. --file with --line needs that account, and never shows a value of the line.
    """
    if (file is None) == (table is None) or (file is None) != (line is None):
        raise typer.BadParameter("give TABLE and ID, or --file and --line")
    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    if file is not None:
        enclose(settings)
    from pipelines.tracing.lake import Lake
    from pipelines.tracing.lines import trace_line
    from pipelines.tracing.rows import trace_row

    lake = Lake(settings, chosen_release(settings, release_id))
    if table is not None:
        sections = trace_row(lake, table, row_id, limit)
    else:
        sections = trace_line(lake, file or "", line or 0, partial(_judged, lake))
    for section in sections:
        _show(section)


def _judged(lake: "Lake", source: str, rules: "Sequence[Rule]", row_key: str) -> "Judged":
    """Ask the rules with an engine, which is opened for this question only."""
    from pipelines.engine import open_session
    from pipelines.storage.tables import TableStore
    from pipelines.tracing.reasons import judged_by

    with open_session(lake.settings.engine) as session:
        return judged_by(TableStore(session, storage_paths(lake.settings)), lake.contracts[source], rules, row_key)


def _show(section: Section) -> None:
    """Show a step; numbers are never set off, because most are ids."""
    if json_lines() or not section.is_one:
        title = f"{section.title} {section.how}".rstrip() if not json_lines() else section.title
        show_table(title, section.rows, as_stored=True)
    else:
        named = [{"": name.replace("_", " "), "value": value} for name, value in section.rows[0].items()]
        show_table(section.title, named, as_stored=True)
    if section.more:
        log.warning("%s: %d more are not shown; --limit shows them", section.title, section.more)


if __name__ == "__main__":
    start(app)
