"""Report on a run: rows in, where they went, what was mapped, the gates and the release."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.deliveries import history_of, not_loaded, shown_delivery
from jobs.output import show_table
from pipelines.contracts.ledger import IMPLAUSIBLE, Disposition, LedgerRow
from pipelines.errors import ReleaseError
from pipelines.quality.figures import (
    coding,
    flow,
    gate_figures,
    opt_out_entries,
    orphans,
    reasons,
    same_facts,
    silver_outcomes,
    unreadable,
    untaken_values,
)
from pipelines.quality.gates import GateResult
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.release.model import Release
from pipelines.release.published import cdm_of, gates_of, ledger_of, pinned_tables, release_folder, runs_of, silver_rows_of
from pipelines.release.reading import open_release, run_query
from pipelines.release.report.data_docs import write_data_docs
from pipelines.release.report.markdown import Cell, Section, markdown
from pipelines.settings import Settings

log = logging.getLogger(__name__)

app = new_app()

SMALL_NUMBERS = f"Numbers from 1 to {SMALLEST_SHOWN - 1}, and those that would give them away, are shown as *."

SAME_FACTS = (
    "SELECT event_table, confidence, count(*) FROM same_fact GROUP BY event_table, confidence ORDER BY event_table, confidence"
)


@app.command()
def report(
    run_id: Annotated[str | None, typer.Option("--run", help="A run; the last one unless given.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report to this Markdown file too.")] = None,
    data_docs: Annotated[
        Path | None,
        typer.Option("--data-docs", help="Write the gate results as Great Expectations Data Docs to this folder too."),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Report on a run: rows in, where they went, what was mapped, the gates and the release."""
    settings = settings_of(env, conf_dir, overrides)
    run = run_id or next(iter(reversed(runs_of(settings))), None)
    if run is None:
        raise ReleaseError("there is no run to report on yet: nhs-omop run makes one")
    gates = gates_of(settings, run)
    release = release_of_run(settings, run)
    silver = silver_rows_of(settings)
    sections = [
        *sections_of(ledger_of(settings, run), gates, silver),
        rows_of_two_sources(settings, release),
        _not_loaded(settings),
    ]
    facts = facts_of(run, release)
    show_table("run", [facts])
    for section in sections:
        if section.rows:
            show_table(section.title, section.rows)
    log.info(SMALL_NUMBERS)
    if out is not None:
        out.write_text(markdown(f"Run {run}", facts, sections), encoding="utf-8")
        log.info("wrote the report", extra={"file": str(out)})
    if data_docs is not None:
        if not gates:
            raise ReleaseError(f"run {run} did not come to the gates, so there are no results for Data Docs")
        write_data_docs(run, gates, data_docs)
        log.info("wrote the Data Docs", extra={"file": str(data_docs / "index.html")})


def sections_of(ledger: list[LedgerRow], gates: list[GateResult], silver: Sequence[Mapping[str, Any]] = ()) -> list[Section]:
    """The tables of the report, safe to show. `silver` is what became of the silver rows of the last run."""
    implausible = [row for row in ledger if row.reason.startswith(IMPLAUSIBLE)]
    broken = [
        {
            "rule": str(r.check.rule),
            "table": f"{r.check.zone}.{r.check.table}",
            "column": r.check.column,
            "severity": r.check.severity,
            "verdict": str(r.verdict),
            **waived(r),
        }
        for r in gates
        if not r.passed
    ]
    return [
        Section("Rows delivered and what became of them", flow(ledger), SMALL_NUMBERS),
        Section("Rows opted out, by kind", reasons(ledger, Disposition.OPTED_OUT)),
        Section("Entries of opt-out lists, and why some match nobody", opt_out_entries(ledger)),
        Section("People with an identity conflict, by provider and kind", reasons(ledger, Disposition.IDENTITY_CONFLICT)),
        Section("Rows quarantined, by reason", reasons(ledger, Disposition.QUARANTINED)),
        Section("Rows whose other row is missing, by reference", orphans(ledger)),
        Section("Values that could not be read", unreadable(ledger)),
        Section("Silver rows, each once: mapped, or taken by no rule and why", silver_outcomes(ledger)),
        Section("Rows that no rule took, by values of closed lists", untaken_values(ledger, silver)),
        Section("Rows set aside because they cannot be right, by reason", reasons(implausible, Disposition.EXCLUDED)),
        Section("Rows published although they cannot be right, by reason", reasons(ledger, Disposition.FLAGGED)),
        Section("Coded rows", coding(ledger)),
        Section("Gates", gate_figures(gates), empty="The run did not come to the gates."),
        Section("Broken checks", broken),
    ]


def waived(result: GateResult) -> dict[str, Cell]:
    """Who accepted the failure of a check, until when and why; empty where nobody did."""
    waiver = result.waiver
    names = ("waived_by", "waived_until", "waived_for")
    values = (waiver.owner, waiver.until.isoformat(), waiver.reason) if waiver else ("", "", "")
    return dict(zip(names, values, strict=True))


def rows_of_two_sources(settings: Settings, release: Release | None) -> Section:
    """The rows of a release that say what a row of another source says, by confidence."""
    title, rows = "Rows that another source has too, by confidence", []
    if release is not None:
        pinned = {name: table for name, table in pinned_tables(settings, release).items() if name == "same_fact"}
        with open_release(pinned, cdm_of(release)) as connection:
            rows = same_facts(run_query(connection, SAME_FACTS)[1])
    return Section(title, rows)


def _not_loaded(settings: Settings) -> Section:
    """The deliveries that are not loaded now, whatever run is reported on."""
    columns = ("source", "provider", "folder", "state", "since", "reason", "next_step")
    rows = [shown_delivery(entry) for entry in not_loaded(history_of(settings, date.today()))]
    return Section("Deliveries that are not loaded", [{name: row[name] for name in columns} for row in rows])


def facts_of(run: str, release: Release | None) -> dict[str, Cell]:
    """What a run was, and the release that it made, if it made one."""
    if release is None:
        return {"run": run, "release": "none made by this run"}
    return {
        "run": run,
        "release": release.release_id,
        "run_date": release.run_date.isoformat(),
        "cdm": release.cdm_version,
        "vocabulary": release.vocabulary_version,
        "code": release.code.version,
        "newest_extract": max((e.extract_date.isoformat() for e in release.extracts), default=""),
        "people": release.pin("omop", "person").rows,
    }


def release_of_run(settings: Settings, run: str) -> Release | None:
    """The release that a run made; None if it made none."""
    folder = release_folder(settings)
    found = (folder.read(release_id) for release_id in reversed(folder.ids()))
    return next((release for release in found if release.run_id == run), None)


if __name__ == "__main__":
    start(app)
