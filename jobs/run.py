"""Run the nightly load: new deliveries into bronze, silver, OMOP, through the gates into a release."""

import logging
from datetime import date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

if not __package__:  # started as a script
    import_module("submit")

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
from jobs.output import show_facts
from jobs.stages import stage

if TYPE_CHECKING:
    from pipelines.nightly import RunResult

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def run(
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The run date; deliveries of later days wait. Today unless given."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Make every table again even if nothing has changed.")] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            help="Make a zone (silver), a stage (ingest, curate, map, gates) or a table (omop.person) with what it needs, and "
            "release nothing; may be repeated."
        ),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Run the nightly load: new deliveries into bronze, silver, OMOP, through the gates into a release.

    Nothing is released unless every row is accounted for and every gate holds. Running again changes nothing until there
    is a new delivery, opt-out list, mapping, vocabulary or setting. A run that was stopped goes on where it stopped.
    `nhs-omop plan` shows beforehand what a run would make, and why.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    enclose(settings)
    run_date = day.date() if day else date.today()
    from pipelines.nightly import nightly, run_selected  # bring the engine, which neither --help nor a wrong setting needs

    if select:
        made = run_selected(settings, run_date, select, full=full, show_stage=stage)
        show_facts("selected tables", {"made": len(made), "released": False})
    else:
        show(nightly(settings, run_date, full=full, show_stage=stage))


def show(outcome: "RunResult") -> None:
    """The summary of a run."""
    if outcome.figures is None:
        log.info("nothing has changed since the current release; it stays", extra={"release": outcome.release_id})
    else:
        show_facts("run", {"release": outcome.release_id, **outcome.figures})


if __name__ == "__main__":
    start(app)
