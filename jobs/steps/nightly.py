"""The nightly load as a whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

from pyspark.sql import SparkSession

from jobs.console import console
from jobs.steps.context import RunContext
from jobs.steps.curate import curate
from jobs.steps.gate import gate, keep_ledger
from jobs.steps.ingest import Ingested, ingest
from jobs.steps.map import News, map_to_omop
from jobs.steps.release import inputs_of, release, stem_inputs_of
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, mapped_share, totals_by
from pipelines.engine import open_session
from pipelines.governance.keys import resolve_key
from pipelines.memory import peak_gib, reset_peak
from pipelines.quality.gates import GateReport
from pipelines.release.model import fingerprint_of
from pipelines.release.published import ledger_of, release_folder, runs_of
from pipelines.run_inputs import RunInputs, prepare, store_key_fingerprint, store_opt_out_dates
from pipelines.settings import Environment, Settings
from pipelines.storage.documents import read_document, write_document
from pipelines.storage.tables import TableStore

Figure = str | int | float


@dataclass(frozen=True)
class StepTime:
    """How long a step took, how many rows came into it, and the most memory this process held during it."""

    step: str
    rows: int
    seconds: float
    peak_gib: float


@dataclass(frozen=True)
class RunResult:
    """What a run came to: the current release, and the figures of the run; None where nothing had changed."""

    release_id: str
    figures: dict[str, Figure] | None
    times: tuple[StepTime, ...] = ()


class StageTimer:
    """Collects what each step took."""

    def __init__(self) -> None:
        self.times: list[StepTime] = []

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Measure a step; put the rows that came in under `rows`."""
        counted = {"rows": 0}
        reset_peak()
        begun = perf_counter()
        yield counted
        self.times.append(StepTime(name, counted["rows"], perf_counter() - begun, peak_gib()))


def nightly(settings: Settings, run_date: date, *, full: bool = False) -> RunResult:
    """Check, ingest, curate, map, gate and release.

    Raises the error of whatever is not as it has to be; the current release is then left as it was.
    """
    prepared = prepare(settings, run_date)
    _warn_of_old_lists(settings, prepared, run_date)
    with open_session(settings.engine) as session:
        return _load(settings, run_date, prepared, session, full=full)


def _load(settings: Settings, run_date: date, prepared: RunInputs, session: SparkSession, *, full: bool) -> RunResult:
    run = _context(settings, run_date, prepared, session, run_id="")
    clock = StageTimer()
    with clock.step("ingest") as counted:
        taken = ingest(run)
        counted["rows"] = taken.rows
    fingerprint = fingerprint_of(inputs_of(settings, prepared, run.register()))
    current = release_folder(settings).current()
    if current and not full and release_folder(settings).read(current)["input_fingerprint"] == fingerprint:
        return RunResult(current, None)
    run = _context(settings, run_date, prepared, session, run_id=f"{run_date:%Y%m%d}-{len(runs_of(settings)) + 1:05}")
    store_key_fingerprint(settings, resolve_key(settings.key, production=settings.environment is Environment.PRODUCTION))
    stem_inputs = fingerprint_of(stem_inputs_of(settings, prepared, run.register()))
    stored = read_document(_stem_document(settings))
    news = News.EVERYTHING if full else _news(stored, stem_inputs, prepared)
    _stem_document(settings).unlink(missing_ok=True)
    with clock.step("curate") as counted:
        if news is News.EVERYTHING:
            ledger = curate(run, prepared.opt_outs, prepared.type_one)
        else:
            console.info("only vocabulary or local maps have changed: what they do not concern stands")
            ledger = _curated(settings, stored["run_id"], run.run_id)
        counted["rows"] = _sum(ledger, Stage.CURATE, Disposition.DELIVERED)
    with clock.step("map") as counted:
        ledger += map_to_omop(run, prepared, news)
        keep_ledger(run, ledger)
        counted["rows"] = _sum(ledger, Stage.CURATE, Disposition.CURRENT)
    stem_document = {"inputs": stem_inputs, "run_id": run.run_id, "vocabulary": prepared.vocabulary["digest"]}
    write_document(_stem_document(settings), stem_document)
    with clock.step("gates") as counted:
        report = gate(run, ledger)
        counted["rows"] = _sum(ledger, Stage.MAP, Disposition.WRITTEN)
    with clock.step("release") as counted:
        made = release(run, prepared, report, fingerprint)
        counted["rows"] = sum(table.rows for table in made.tables if table.zone == "omop")
    store_opt_out_dates(settings, prepared.opt_outs)
    figures = _figures(taken, ledger, report) | {"people": made.pin("omop", "person").rows}
    return RunResult(made.release_id, figures, tuple(clock.times))


def _stem_document(settings: Settings) -> Path:
    """What the stored silver, stem and OMOP tables were made from; absent while they are being made."""
    return settings.storage.restricted / "stem.json"


def _news(stored: dict[str, Any], stem_inputs: str, prepared: RunInputs) -> News:
    """What is new since the stored tables were made, by the document that says what they were made from."""
    if stored.get("inputs") != stem_inputs:
        return News.EVERYTHING
    return News.LOCAL_MAPS if stored["vocabulary"] == prepared.vocabulary["digest"] else News.VOCABULARY


def _curated(settings: Settings, curated_by: str, run_id: str) -> list[LedgerRow]:
    """The curate part of an earlier run's ledger, as that of this run."""
    return [replace(row, run_id=run_id) for row in ledger_of(settings, curated_by) if row.stage is Stage.CURATE]


def _context(settings: Settings, run_date: date, prepared: RunInputs, session: SparkSession, run_id: str) -> RunContext:
    store = TableStore(session, settings.storage.restricted, settings.storage.deidentified)
    return RunContext(run_id, run_date, settings, prepared.contracts, prepared.mappings, store, prepared.pads, console)


def _warn_of_old_lists(settings: Settings, prepared: RunInputs, run_date: date) -> None:
    for one in prepared.opt_outs.facts:
        age = (run_date - one.as_at).days
        if age >= settings.opt_outs.warn_at_days:
            left = settings.opt_outs.max_age_days - age
            console.warning(f"the {one.kind} opt-out list is {age} days old; fetch a new one within {left} days")


def _sum(ledger: list[LedgerRow], stage: Stage, disposition: Disposition) -> int:
    return totals_by(ledger, "stage", "disposition").get((stage.value, disposition.value), 0)


def _figures(taken: Ingested, ledger: list[LedgerRow], report: GateReport) -> dict[str, Figure]:
    share = mapped_share(ledger)
    return {
        "new_deliveries": taken.deliveries,
        "new_rows": taken.rows,
        "rows_in": _sum(ledger, Stage.CURATE, Disposition.DELIVERED),
        "current": _sum(ledger, Stage.CURATE, Disposition.CURRENT),
        "opted_out": _sum(ledger, Stage.CURATE, Disposition.OPTED_OUT),
        "quarantined": _sum(ledger, Stage.CURATE, Disposition.QUARANTINED),
        "mapped": f"{share:.1%}" if share is not None else "",
        "omop_rows": _sum(ledger, Stage.MAP, Disposition.WRITTEN),
        "gates": f"{len(report.results) - len(report.failures)} of {len(report.results)} passed",
    }
