"""Judge a run or a release again by the limits and waivers of today, without a run; exit code 21 where a gate fails."""

import logging
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    new_app,
    refuse_inside_roots,
    settings_of,
    start,
    writing,
)
from jobs.logs import json_lines as for_machines
from jobs.output import show_table
from pipelines.contracts.gate_policy import CheckName, OfChecks
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError, QualityGateError, ReleaseError
from pipelines.quality.gates import FAILING_ROWS, FAILING_SCHEMA, SHOWN_FAILURES, GateReport, judged_again
from pipelines.quality.policy import Policy, name_of
from pipelines.quality.written import as_json, as_junit, as_text, in_order, shown
from pipelines.release.published import chosen_release, chosen_run, gates_of, ledger_of
from pipelines.release.report.sections import Edition
from pipelines.release.report.writing import write_report
from pipelines.run_context import known_names, read_register
from pipelines.settings import Settings, storage_paths

log = logging.getLogger(__name__)

app = new_app()


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


@app.command()
def gate(
    release_id: Annotated[str | None, typer.Option("--release", help="A release: the run that made it is judged.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="A run; the last that came to the gates unless given.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How all results are written to --out.")] = Format.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="Write the results to this file.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Show small numbers too: for the load team alone.")] = False,
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="CHECK", help="List the keys of rows that break a check; * is a wildcard.")
    ] = None,
    judged_on: Annotated[
        datetime | None,
        typer.Option(
            "--date", formats=["%Y-%m-%d"], help="Judge as on this day, by the waivers that then hold; today unless given."
        ),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Judge a run or a release again by the limits and waivers of today, without a run; exit code 21 where a gate fails.

    What was counted in the run is judged, nothing is counted again and nothing is changed. Small numbers are hidden unless
    --full is given.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    if out is not None:
        refuse_inside_roots(settings, out.absolute(), "--out")
    run = _chosen(settings, release_id, run_id)
    if rows is not None:
        _show_rows(settings, run, rows)
        return
    day = judged_on.date() if judged_on else date.today()
    report = _judged(settings, run, day)
    title = f"gates of run {run}"
    broken = [shown(result, full=full) for result in in_order(report.results) if not result.passed]
    show_table("gates", [{"run": run, **report.summary()}])
    if broken:
        show_table("checks that do not pass", broken if for_machines() else [_narrow(row) for row in broken])
    if out is not None:
        facts = {"run": run, "judged_on": day.isoformat()}
        text = {
            Format.TEXT: lambda: as_text(title, report, full=full),
            Format.JSON: lambda: as_json(facts, report, full=full),
            Format.JUNIT: lambda: as_junit(title, report, full=full),
        }[form]()
        with writing(out):
            write_report(out, text, Edition.FULL if full else Edition.SUPPRESSED, settings.storage.deidentified)
        log.info("wrote the results", extra={"file": str(out)})
    _require_passed(report)


def _chosen(settings: Settings, release_id: str | None, run_id: str | None) -> str:
    if release_id is not None and run_id is not None:
        raise ConfigError("give --release or --run, not both")
    if release_id is not None:
        return chosen_release(settings, release_id).run_id
    run = chosen_run(settings, run_id)
    if run is None:
        raise ReleaseError("there is no run yet: nhs-omop run makes one")
    return run


def _judged(settings: Settings, run: str, day: date) -> GateReport:
    results = gates_of(settings, run)
    if not results:
        raise ReleaseError(f"run {run} did not come to the gates, so there is nothing to judge")
    paths = storage_paths(settings)
    known_names(settings, load_contracts(settings.mappings_dir), read_register(paths)).require(settings.gates)
    return judged_again(results, ledger_of(settings, run), Policy(settings.gates, day))


def _narrow(row: dict[str, str | int | float | bool | None]) -> dict[str, str | int | float | bool | None]:
    """A row for people: the name of the check in one column."""
    name = f"{row['rule']} on {row['zone']}.{row['table']}" + (f".{row['column']}" if row["column"] else "")
    rest = ("violations", "rows", "allowed", "detail", "waived_by", "waived_until", "waived_for")
    return {"verdict": row["verdict"], "check": name} | {column: row[column] for column in rest if row[column] != ""}


def _require_passed(report: GateReport) -> None:
    """Raise QualityGateError with the names of the checks; the numbers are in the results."""
    if report.failures:
        expired = {True: " (its waiver has ended)", False: ""}
        names = [f"  {failure.check}{expired[failure.has_expired]}" for failure in report.failures[:SHOWN_FAILURES]]
        raise QualityGateError(f"{len(report.failures)} of {len(report.results)} gates fail\n" + "\n".join(names))


def _show_rows(settings: Settings, run: str, check: str) -> None:
    """The keys of the rows that break the checks that a pattern names."""
    pattern = OfChecks(check=check).name
    if not any(pattern.fits(name_of(result.check)) for result in gates_of(settings, run)):
        raise ConfigError(f"--rows {check}: run {run} has no such check; nhs-omop gate --out FILE writes all that it has")
    found = storage_paths(settings).records(Zone.LEDGER, FAILING_ROWS, tuple(FAILING_SCHEMA), where=("run_id", run))
    shown_rows = []
    for row in found:
        table, _, provider = row["table"].partition("@")
        if pattern.fits(CheckName(row["rule"], row["zone"], table, row["column"], provider)):
            place = f"{row['zone']}.{row['table']}" + (f".{row['column']}" if row["column"] else "")
            shown_rows.append({"check": f"{row['rule']} on {place}", "argument": row["argument"], "key": row["key"]})
    if not shown_rows:
        log.info("no rows are kept of it: checks of whole tables have none, and keys are kept for some days only")
        return
    show_table("rows that break a check", sorted(shown_rows, key=lambda row: (row["check"], row["argument"], row["key"])))


if __name__ == "__main__":
    start(app)
