"""Remove what nothing needs any more: old releases, versions and files of tables, entries of their logs."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, enclose, new_app, settings_of, start
from jobs.output import show_facts, show_table
from jobs.stages import stage
from pipelines.progress import Field
from pipelines.run_lock import run_lock
from pipelines.storage.rights import private_files

if TYPE_CHECKING:
    from pipelines.upkeep.keeping import TableReport, UpkeepReport

app = new_app()


@app.command()
def upkeep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Remove what nothing needs any more: old releases, versions and files of tables, entries of their logs.

    Kept are the releases, runs and days that the section upkeep of the configuration asks for, and with a release every
    version that it pins. Rows that are current are never removed. Every run does the same for tables that are worth it.
    """
    settings = settings_of(env, conf_dir, overrides)
    enclose(settings)
    from pipelines.upkeep.keeping import executor_of, keep_up, would_do  # bring the engine, which --help does not need

    with run_lock(settings.storage.restricted, "upkeep"), private_files():
        if dry_run:
            show(would_do(settings))
        else:
            with executor_of(settings.engine) as executor:
                show(keep_up(settings, executor, thorough=True, show_stage=stage))


def show(report: "UpkeepReport") -> None:
    """The tables that were changed, what they were and are, and the sums."""
    if report.tables:
        show_table("upkeep", [_row(table) for table in report.tables])
    facts = {
        "releases_removed": len(report.releases),
        "runs_removed": len(report.runs),
        "tables": len(report.tables),
        "bytes_before": sum(table.before.size for table in report.tables),
        "bytes_after": sum(table.after.size for table in report.tables),
    }
    show_facts("in all", facts)


def _row(table: "TableReport") -> dict[str, Field]:
    before, after = table.before, table.after
    return {
        "table": str(table.name),
        "versions": table.versions[0],
        "versions_after": table.versions[1],
        "files": before.files,
        "files_after": after.files,
        "files_joined": table.joined,
        "log_files": before.log_files,
        "log_files_after": after.log_files,
        "bytes": before.size,
        "bytes_after": after.size,
    }


if __name__ == "__main__":
    start(app)
