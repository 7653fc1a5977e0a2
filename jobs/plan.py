"""Show what a run would make, and why, without making it."""

import logging
from collections import Counter
from datetime import date, datetime
from typing import Annotated

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
from jobs.output import show_table

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def plan(
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The run date; deliveries of later days wait. Today unless given."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="As for a run that makes every table again.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Show what a run would make, and why, without making it.

    It is the most that a run makes: a table that turns out equal to the stored one stays, and so does all that reads it. What a
    run enters of itself in the ledger (rows, figures, gates, failing rows, readable values) is not named.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    enclose(settings)
    from pipelines.nightly import plan_run  # brings the engine, which neither --help nor a wrong setting needs

    steps = plan_run(settings, day.date() if day else date.today(), full=full)
    if not steps:
        log.info("every table is current; a run would make nothing")
        return
    show_table("plan", [{"table": str(step.name), "why": step.reason} for step in steps])
    zones = Counter(step.name.zone.value for step in steps)
    show_table("in all", [{"zone": zone, "tables": tables} for zone, tables in zones.items()])


if __name__ == "__main__":
    start(app)
