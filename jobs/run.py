"""Run the nightly load: new deliveries into bronze, silver, OMOP, through the gates into a release."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # started as a script: the project's folder takes the place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jobs.command import (
    DEFAULT_CONF_DIR,
    DEFAULT_ENV,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    new_app,
    settings_of,
    start,
)
from jobs.console import console
from jobs.steps.nightly import RunResult, nightly

app = new_app()


@app.command()
def run(
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The run date; deliveries of later days wait. Today unless given."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Build again even if nothing has changed.")] = False,
    env: Env = DEFAULT_ENV,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Run the nightly load: new deliveries into bronze, silver, OMOP, through the gates into a release.

    Nothing is released unless every row is accounted for and every gate holds. Running again changes nothing until there
    is a new delivery, opt-out list, mapping, vocabulary or setting.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    show(nightly(settings, day.date() if day else date.today(), full=full))


def show(outcome: RunResult) -> None:
    """The summary of a run."""
    if outcome.figures is None:
        console.info("nothing has changed since the current release; it stands", release=outcome.release_id)
    else:
        facts = {"release": outcome.release_id, **outcome.figures}
        if console.json_lines:
            console.table("run", [facts])
        else:
            console.table("run", [{"": name.replace("_", " "), "value": value} for name, value in facts.items()])


if __name__ == "__main__":
    start(app)
