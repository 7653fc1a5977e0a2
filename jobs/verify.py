"""Make the tables again beside the lakehouse and compare them row for row; exit code 40 where they differ."""

import logging
from dataclasses import asdict
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
from jobs.output import show_facts, show_table
from jobs.stages import stage
from pipelines.contracts.zones import Zone
from pipelines.errors import DifferenceError
from pipelines.progress import Field

if TYPE_CHECKING:
    from pipelines.verifying import Verification

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def verify(
    sample: Annotated[
        float,
        typer.Option("--sample", metavar="PERCENT", min=0.0001, max=100, help="The share of people whose rows are compared."),
    ] = 1.0,
    everybody: Annotated[bool, typer.Option("--all", help="Compare every row of every table, not a sample.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Make the tables again beside the lakehouse and compare them row for row; exit code 40 where they differ.

    Everything is made from what was delivered, the register, the opt-out lists and the vocabulary, as on the day of the last
    run, in a scratch folder below the restricted root that is removed at the end. The lakehouse is only read.

    A sample is of the same people each time. Curate still decides about everybody; tables that need everybody's rows, such as
    those of codes, are compared by --all only. It needs the disk of a second lakehouse without bronze.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    enclose(settings)
    from pipelines.verifying import Sample  # brings the engine, which neither --help nor a wrong setting needs
    from pipelines.verifying import verify as verified

    show(verified(settings, None if everybody else Sample(sample / 100), stage))


def show(found: "Verification") -> None:
    """What was compared and what differs. Raises DifferenceError where anything does."""
    facts: dict[str, Field] = {"run": found.run_id}
    if found.people is not None:
        facts["people_in_the_sample"] = found.people
        if not found.people:
            log.warning("nobody is in the sample: give a greater --sample, or --all")
    facts |= {"tables": len(found.compared), "rows": sum(table.rows for table in found.compared)}
    show_facts("verify", facts | {"different_tables": len(found.different)})
    if found.not_compared:
        show_table("not compared", _not_compared(found))
    if not found.different:
        return
    show_table("different", _differences(found))
    tables = ", ".join(str(table.table) for table in found.different)
    raise DifferenceError(
        f"{len(found.different)} of {len(found.compared)} tables differ from their rebuild: {tables}. Unless somebody has "
        "changed a table by hand this is a fault of the software: report it. nhs-omop run --full makes everything again"
    )


def _not_compared(found: "Verification") -> list[dict[str, Field]]:
    """A row for each reason; the tables of bronze, of which none is ever compared, are named together."""
    rows: list[dict[str, Field]] = []
    for why in sorted(set(found.not_compared.values())):
        names = [name for name, reason in found.not_compared.items() if reason == why]
        shown = dict.fromkeys("bronze.*" if name.zone is Zone.BRONZE else str(name) for name in names)
        rows.append({"why": why, "tables": len(names), "names": ", ".join(shown)})
    return rows


def _differences(found: "Verification") -> list[dict[str, Field]]:
    """A row for each table, source, entity and rule that differs, and one for columns that only one side has."""
    rows: list[dict[str, Field]] = []
    for compared in found.different:
        rows += [{"name": str(compared.table), **asdict(part), "columns": ""} for part in compared.differences]
        if compared.columns:
            rows.append({"name": str(compared.table), "columns": ", ".join(compared.columns)})
    return rows


if __name__ == "__main__":
    start(app)
