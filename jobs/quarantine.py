"""List the lines that could not be used, by reason: file, line, rule and column."""

import logging
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, require_source, settings_of, start
from jobs.output import show_table
from pipelines.errors import ConfigError

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def quarantine(
    source: Annotated[str | None, typer.Option(help="Only lines of a source.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only lines of a provider.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only lines with a reason (missing:nhs_number), or with any of a rule (missing).")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Lines listed at most; all are counted.")] = 20,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """List the lines that could not be used, by reason: file, line, rule and column.

    As the newest run left them: a line that a later delivery makes good is not there any more. `run --select` makes the list
    again only where `quarantine` is selected. No value of a line is shown.
    """
    settings = settings_of(env, conf_dir, overrides)
    require_source(settings, source)
    # brings pyarrow, which neither --help nor a wrong setting needs
    from pipelines.tracing.meanings import RULES
    from pipelines.tracing.quarantined import is_reason, quarantined

    if reason is not None and not is_reason(reason):
        raise ConfigError(f"--reason: there is no {reason}; reasons begin with {', '.join(RULES)}")
    found = quarantined(settings, limit, source, provider, reason)
    if not found.total:
        others = quarantined(settings, 0, source, provider).by_reason if reason is not None else []
        reasons = ", ".join(sorted({str(row["reason"]) for row in others}))
        log.info("no such line is quarantined" + (f"; reasons there are: {reasons}" if reasons else ""))
        return
    show_table("quarantined by reason", found.by_reason)
    if found.lines:
        show_table("quarantined lines", found.lines, as_stored=True)
    if found.total > len(found.lines):
        log.warning("%d more lines are not listed; --limit lists them", found.total - len(found.lines))


if __name__ == "__main__":
    start(app)
