"""Check that everything a run needs is there and right: versions, folders, rights, key, vocabulary, opt-out lists."""

from datetime import date, datetime
from importlib.util import find_spec
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, MappingsDir, Overrides, enclose, new_app, settings_of, start
from jobs.output import show_table
from pipelines.errors import EngineError, counted

app = new_app()


@app.command()
def doctor(
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="The day of the run. Today unless given.")
    ] = None,
    engine: Annotated[bool, typer.Option("--engine", help="Start the engine too.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Check that everything a run needs is there and right: versions, folders, rights, key, vocabulary, opt-out lists.

    Each line is ok, a warning or a fault, with the next step. Nothing is changed and no engine started unless --engine is
    given. Where there is a fault, the exit code is that of the first, as a run would end.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    if find_spec("pyspark") is None:
        raise EngineError("no engine is installed: pip install 'nhs-omop[embedded]'")
    if engine:
        enclose(settings)
    from pipelines.diagnosis import Finding, State, findings
    from pipelines.engine import open_session

    run_date = day.date() if day else date.today()
    found = [Finding("settings", State.OK, f"{env}, {settings.environment}"), *findings(settings, run_date)]
    if engine:
        try:
            with open_session(settings.engine) as session:
                session.range(1).count()
            found.append(Finding("engine", State.OK, "starts"))
        except EngineError as error:
            found.append(Finding("engine", State.FAULT, str(error), error=error))
    show_table(
        "doctor",
        [{"state": line.state.value, "what": line.what, "found": line.found, "next_step": line.next_step} for line in found],
    )
    errors = [line.error for line in found if line.error is not None]
    if errors:
        raise type(errors[0])(f"{counted(len(errors), 'fault')}; the first: {errors[0]}")


if __name__ == "__main__":
    start(app)
