"""The command `nhs-omop`: every command as a subcommand.

The module of a command is imported when the command is run or its options are completed. `--help` and the completion of
command names import none of them.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from jobs.command import new_app, start
from jobs.logs import reader_may_leave
from pipelines import __version__


class Command(NamedTuple):
    """The module that assigns `app`, and the first line of its docstring."""

    module: str
    summary: str


COMMANDS = {
    "accept": Command(
        "jobs.accept", "Accept a delivery that is set aside because it differs from what its provider sent before."
    ),
    "bench": Command(
        "jobs.bench",
        "Measure each stage on generated extracts, or the load of a vocabulary: rows a second, seconds and peak memory.",
    ),
    "check": Command(
        "jobs.check", "Check one delivery against its contract: what a run would take, quarantine and miss, without loading it."
    ),
    "copy-mappings": Command(
        "jobs.copy_mappings",
        "Copy the packaged contracts, mappings and code maps to a folder of your own, to be changed there.",
    ),
    "deliveries": Command(
        "jobs.deliveries", "List deliveries: loaded, waiting, set aside or withdrawn, with the reason and the next step."
    ),
    "demo": Command("jobs.demo", "Show everything at once: generated extracts of six sources, two nights, to a DuckDB file."),
    "doctor": Command(
        "jobs.doctor",
        "Check that everything a run needs is there and right: versions, folders, rights, key, vocabulary, opt-out lists.",
    ),
    "gate": Command(
        "jobs.gate",
        "Judge a run or a release again by the limits and waivers of today, without a run; exit code 21 where a gate fails.",
    ),
    "generate": Command(
        "jobs.generate",
        "Write synthetic extracts of six sources, with opt-out lists and the truth about what was planted.",
    ),
    "init": Command("jobs.init", "Write a new environment: its settings and folders, and what to do next."),
    "key": Command("jobs.key", "Make a pseudonymisation key, or show the fingerprint of the configured one."),
    "manifest": Command("jobs.manifest", "Write the manifest of a delivery or an opt-out list whose sender gives none."),
    "mapping-docs": Command(
        "jobs.mapping_docs", "Write the documentation of every mapping, from the mapping files themselves."
    ),
    "plan": Command("jobs.plan", "Show what a run would make, and why, without making it."),
    "publish": Command(
        "jobs.publish",
        "Write a release where analysts can use it: a DuckDB file, Parquet files, a PostgreSQL schema, or views in a catalog.",
    ),
    "quarantine": Command("jobs.quarantine", "List the lines that could not be used, by reason: file, line, rule and column."),
    "query": Command("jobs.query", "Run SQL on a release: read-only, at the pinned versions of its tables."),
    "releases": Command("jobs.releases", "List the releases, show one, compare two, hold one whatever its age, or remove one."),
    "report": Command("jobs.report", "Report on a run: rows in, where they went, what was mapped, the gates and the release."),
    "rollback": Command("jobs.rollback", "Make an earlier release the current one again."),
    "run": Command(
        "jobs.run", "Run the nightly load: new deliveries into bronze, silver, OMOP, through the gates into a release."
    ),
    "runs": Command("jobs.runs", "List the runs: times, rows, tables made, and how each ended."),
    "status": Command("jobs.status", "Show what is running, waiting, set aside, failed and released, with the next step."),
    "table-docs": Command("jobs.table_docs", "Write the data dictionary and the graph of all tables, from their declarations."),
    "trace": Command(
        "jobs.trace",
        "Trace a row of a release back to its rule, file and line, or a delivered line to what became of it.",
    ),
    "upkeep": Command(
        "jobs.upkeep", "Remove what nothing needs any more: old releases, versions and files of tables, entries of their logs."
    ),
    "verify": Command(
        "jobs.verify",
        "Make the tables again beside the lakehouse and compare them row for row; exit code 40 where they differ.",
    ),
    "vocab": Command("jobs.vocab", "Load vocabularies, and work on the codes that they do not map."),
    "withdraw": Command("jobs.withdraw", "Take a delivery back: the next run is as if it had never come."),
}
"""Every command by its name, in the order of `--help`."""


class _CommandsByName(TyperGroup):
    """Lists the commands by their summaries, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The name of the called command, the command itself and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _imported(name), rest


def _imported(name: str) -> Any:
    return typer.main.get_command(import_module(COMMANDS[name].module).app)


def _show_version(value: bool) -> None:
    if value:
        with reader_may_leave():
            typer.echo(f"nhs-omop {__version__}")
        raise typer.Exit


def _all_commands() -> typer.Typer:
    app = new_app("NHS extracts to an OMOP CDM that researchers can trust.", cls=_CommandsByName, completion=True)

    @app.callback()
    def _options(version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False) -> None:
        """NHS extracts to an OMOP CDM that researchers can trust."""

    for name, command in COMMANDS.items():
        app.command(name, help=command.summary)(lambda: None)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `nhs-omop COMMAND ...`; return if it succeeded, otherwise raise SystemExit with the exit code of the cause."""
    start(_all_commands(), arguments, program="nhs-omop")


if __name__ == "__main__":
    main()
