"""Report on a run: rows in, where they went, what was mapped, the gates and the release."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start, writing
from jobs.deliveries import history_of, not_loaded, shown_delivery
from jobs.output import show_table
from pipelines.contracts.ledger import IMPLAUSIBLE, Disposition, LedgerRow
from pipelines.contracts.zones import Zone
from pipelines.errors import ReleaseError
from pipelines.quality.figures import (
    coding,
    gate_figures,
    opt_out_entries,
    orphans,
    reasons,
    row_figures,
    same_facts,
    silver_outcomes,
    unreadable,
    untaken_values,
)
from pipelines.quality.gates import GateResult
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.release.model import Release
from pipelines.release.published import (
    cdm_of,
    chosen_release,
    chosen_run,
    gates_of,
    ledger_of,
    pinned_tables,
    release_folder,
    runs_of,
    silver_rows_of,
)
from pipelines.release.reading import open_release, run_query
from pipelines.release.report.checks import broken_checks
from pipelines.release.report.data_docs import write_data_docs
from pipelines.release.report.markdown import markdown
from pipelines.release.report.sections import Cell, Edition, Section, Topic
from pipelines.release.report.writing import write_report
from pipelines.run_log import RunRecord, RunState, in_order, last_runs
from pipelines.settings import Settings, storage_paths

if TYPE_CHECKING:
    from pipelines.release.report.contents import OpenCode

log = logging.getLogger(__name__)

app = new_app()

SMALL_NUMBERS = f"Numbers from 1 to {SMALLEST_SHOWN - 1}, and those that would give them away, are shown as *."

SAME_FACTS = (
    "SELECT event_table, confidence, count(*) FROM same_fact GROUP BY event_table, confidence ORDER BY event_table, confidence"
)


@app.command()
def report(
    run_id: Annotated[str | None, typer.Option("--run", help="A run; the last one unless given.")] = None,
    release_id: Annotated[str | None, typer.Option("--release", help="The run that made this release.")] = None,
    edition: Annotated[
        Edition, typer.Option(help="With small numbers hidden, or in full for those with rights to the restricted root.")
    ] = Edition.SUPPRESSED,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this file too, as one HTML page.")] = None,
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
    if run_id and release_id:
        raise typer.BadParameter("give --run or --release, not both")
    settings = settings_of(env, conf_dir, overrides, reads_restricted=True)
    begun = [found.record.run_id for found in last_runs(settings.storage.restricted)]
    run = chosen_release(settings, release_id).run_id if release_id else chosen_run(settings, run_id, *begun)
    if run is None:
        raise ReleaseError("there is no run to report on yet: nhs-omop run makes one")
    ledger, gates = ledger_of(settings, run), gates_of(settings, run)
    release = release_of_run(settings, run)
    sections = [*sections_of(ledger, gates, edition, silver_rows_of(settings)), rows_of_two_sources(settings, release, edition)]
    facts = facts_of(run, release, edition)
    shown = [*sections, _not_loaded(settings, edition)]
    show_table("run", [facts])
    for section in shown:
        if section.rows:
            show_table(section.title, section.rows)
    if edition is Edition.SUPPRESSED:
        log.info(SMALL_NUMBERS)
    if out is not None:
        with writing(out):
            write_report(out, markdown(f"Run {run}", facts, shown), edition, settings.storage.deidentified)
        log.info("wrote the report", extra={"file": str(out)})
    if html is not None:
        page = html_page(settings, run, edition, sections)
        with writing(html):
            write_report(html, page, edition, settings.storage.deidentified)
        log.info("wrote the page", extra={"file": str(html), "edition": edition.value})
    if data_docs is not None:
        if not gates:
            raise ReleaseError(f"run {run} did not come to the gates, so there are no results for Data Docs")
        with writing(data_docs):
            data_docs.mkdir(parents=True, exist_ok=True)
            write_data_docs(run, gates, data_docs)
        log.info("wrote the Data Docs", extra={"file": str(data_docs / "index.html")})


def sections_of(
    ledger: list[LedgerRow],
    gates: list[GateResult],
    edition: Edition = Edition.SUPPRESSED,
    silver: Sequence[Mapping[str, Any]] = (),
) -> list[Section]:
    """The tables of the report, safe for those who may see the edition. `silver`: what became of the silver rows."""
    implausible = [row for row in ledger if row.reason.startswith(IMPLAUSIBLE)]
    smallest = edition.smallest_shown
    rows = row_figures(ledger, smallest)
    return [
        Section(
            "Rows delivered and what became of them",
            rows.flow,
            SMALL_NUMBERS if edition is Edition.SUPPRESSED else "",
        ),
        Section("Rows opted out, by kind", rows.opted_out, topic=Topic.OPT_OUTS),
        Section("Entries of opt-out lists, and why some match nobody", opt_out_entries(ledger, smallest), topic=Topic.OPT_OUTS),
        Section(
            "People with an identity conflict, by provider and kind", reasons(ledger, Disposition.IDENTITY_CONFLICT, smallest)
        ),
        Section("Rows quarantined, by reason", rows.quarantined),
        Section("Rows whose other row is missing, by reference", orphans(ledger, smallest)),
        Section("Values that could not be read", unreadable(ledger, smallest)),
        Section("Silver rows, each once: mapped, or taken by no rule and why", silver_outcomes(ledger, smallest)),
        Section("Rows that no rule took, by values of closed lists", untaken_values(ledger, silver, smallest)),
        Section("Rows set aside because they cannot be right, by reason", reasons(implausible, Disposition.EXCLUDED, smallest)),
        Section("Rows published although they cannot be right, by reason", reasons(ledger, Disposition.FLAGGED, smallest)),
        Section("Coded rows", coding(ledger, smallest), topic=Topic.CODES, bars=("mapped",)),
        broken_checks(gates, edition),
        Section("Checks by zone", gate_figures(gates), empty="The run did not come to the checks.", topic=Topic.GATES),
    ]


def rows_of_two_sources(settings: Settings, release: Release | None, edition: Edition = Edition.SUPPRESSED) -> Section:
    """The rows of a release that say what a row of another recorder says, by confidence; none of tables in catalogs."""
    title, rows = "Rows that another source or practice has too, by confidence", []
    if release is not None and settings.storage.catalog is None:  # tables in catalogs have no files that could be read here
        pinned = {name: table for name, table in pinned_tables(settings, release).items() if name == "same_fact"}
        with open_release(pinned, cdm_of(release)) as connection:
            rows = same_facts(run_query(connection, SAME_FACTS)[1], edition.smallest_shown)
    return Section(title, rows)


def html_page(settings: Settings, run: str, edition: Edition, sections: list[Section]) -> str:
    """The report of a run as one HTML page; `sections` are the tables that every form of the report has."""
    from pipelines.release.report.contents import Material, page_of
    from pipelines.release.report.counting import count_release
    from pipelines.release.report.page import html

    today = date.today()
    release = release_of_run(settings, run)
    former = _release_before(settings, release)
    record = _record_of(settings, run)
    material = Material(
        run=run,
        edition=edition,
        record=record,
        release=release,
        former=former,
        former_ledger=ledger_of(settings, former.run_id) if former else [],
        ledger=ledger_of(settings, run),
        gates=gates_of(settings, run),
        sections=sections,
        deliveries=[shown_delivery(entry) for entry in history_of(settings, today)],
        counts=count_release(pinned_tables(settings, release), cdm_of(release), release.run_date) if release else None,
        open_codes=_open_codes(settings, release) if run == runs_of(settings)[-1] else None,
        run_date=release.run_date if release else record.run_date if record else today,
        written_on=today,
        warn_lists_at_days=settings.opt_outs.warn_at_days,
    )
    return html(page_of(material))


def _release_before(settings: Settings, release: Release | None) -> Release | None:
    """The newest release that an earlier run has made."""
    if release is None:
        return None
    folder = release_folder(settings)
    made = {found.run_id: found for found in map(folder.read, folder.ids())}
    earlier = [run for run in in_order(made) if run != release.run_id and in_order([run, release.run_id])[0] == run]
    return made[earlier[-1]] if earlier else None


def _open_codes(settings: Settings, release: Release | None) -> "list[OpenCode]":
    """The codes without a standard concept that the last run has found, those with most rows first."""
    from pipelines.release.report.contents import CODES_SHOWN, OpenCode
    from pipelines.release.report.counting import names_of_codes

    columns = ("source", "vocabulary", "code", "is_known", "rows")
    rows: dict[tuple[str, str, str, bool], int] = defaultdict(int)
    for record in storage_paths(settings).records(Zone.INTERMEDIATE, "unmapped_codes", columns):
        rows[record["source"], record["vocabulary"], record["code"], record["is_known"]] += record["rows"]
    order = sorted(rows, key=lambda key: (-rows[key], key))
    known = [(vocabulary, code) for _, vocabulary, code, is_known in order[:CODES_SHOWN] if is_known]
    names = names_of_codes(pinned_tables(settings, release)["concept"], known) if release else {}
    return [
        OpenCode(
            source, vocabulary, code, names.get((vocabulary, code), ""), is_known, rows[source, vocabulary, code, is_known]
        )
        for source, vocabulary, code, is_known in order
    ]


def _not_loaded(settings: Settings, edition: Edition) -> Section:
    """The deliveries that are not loaded now, whatever run is reported on; reasons and next steps may quote small numbers."""
    columns = ["source", "provider", "folder", "state", "since"]
    columns += ["reason", "next_step"] if edition is Edition.FULL else []
    rows = [shown_delivery(entry) for entry in not_loaded(history_of(settings, date.today()))]
    return Section("Deliveries that are not loaded", [{name: row[name] for name in columns} for row in rows])


def facts_of(run: str, release: Release | None, edition: Edition) -> dict[str, Cell]:
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
        "people": edition.shown(release.pin("omop", "person").rows),
    }


def release_of_run(settings: Settings, run: str) -> Release | None:
    """The release that a run made, or that it made the current one again; None where there is none.

    After the end of a rollback a run finds its release made already, by an earlier run.
    """
    folder = release_folder(settings)
    there = folder.ids()
    made = next((release for release in map(folder.read, reversed(there)) if release.run_id == run), None)
    record = _record_of(settings, run)
    if made is None and record is not None and record.end is RunState.RELEASED and record.release_id in there:
        return folder.read(record.release_id)
    return made


def _record_of(settings: Settings, run: str) -> RunRecord | None:
    """The run in the list of runs, which may have lost it."""
    return next((found.record for found in last_runs(settings.storage.restricted) if found.record.run_id == run), None)


if __name__ == "__main__":
    start(app)
