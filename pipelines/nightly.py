"""The nightly load: everything that is declared, from new deliveries to a release."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pipelines import __version__
from pipelines.contracts.delivered_names import some
from pipelines.contracts.ledger import LEDGER_TABLE, Disposition, LedgerRow, Stage, totals_by
from pipelines.contracts.source import sources_in
from pipelines.contracts.tables import Table, TableName
from pipelines.contracts.zones import ZONE_OF_STAGE, Zone
from pipelines.curate.tables import READABLE
from pipelines.declaring import Declared, declared_tables
from pipelines.engine import open_session
from pipelines.errors import DeliveryError
from pipelines.ingest.arrivals import Arrivals, arrivals, nothing_loaded
from pipelines.ingest.checksums import Checksums
from pipelines.ingest.delivery_log import read_accepted, read_set_aside, read_withdrawn, store_set_aside
from pipelines.ingest.folders import SetAside, find_deliveries
from pipelines.ingest.landing import DeliveryName
from pipelines.ingest.load import ENTERED, Allowed, Ingested, bronze_tables, ingest, keep_bronze
from pipelines.ingest.profile import FILE_COLUMNS
from pipelines.ingest.register import REGISTER, Registered, in_contracts
from pipelines.ingest.required import require_sources
from pipelines.ingest.taking_back import changed_bronze, take_back, without_deliveries
from pipelines.judging import judged, require_known_names
from pipelines.lineage.sending import Lineage
from pipelines.making_releases import inputs_fingerprint, make_release, pins_of
from pipelines.measuring.stage_timer import StepTime
from pipelines.progress import ShowStage, no_stages
from pipelines.quality.figures import Figure, run_figures
from pipelines.quality.gates import FAILING_ROWS, GATE_TABLE, GateReport
from pipelines.quality.release_figures import FIGURES_OF_RUNS
from pipelines.quality.suppression import shown
from pipelines.quality.tables import MEASURES
from pipelines.release.published import release_folder, runs_before
from pipelines.run_context import RunContext, reads_little, rebuilds_folder
from pipelines.run_inputs import (
    RunInputs,
    check_lists_unchanged,
    read_run_inputs,
    store_key_fingerprint,
    store_lists_used,
    warn_of_later_lists,
)
from pipelines.run_ledger import ledger_of_run, ledger_table
from pipelines.run_lock import run_lock
from pipelines.run_log import RunLog, RunState, TableCounts, logged_run
from pipelines.runner import Runner, Step, selected
from pipelines.scratch import remove_left
from pipelines.settings import Settings, storage_paths
from pipelines.storage.files import make_folder
from pipelines.storage.rights import others_may_read, others_may_write, private_files, require_usable
from pipelines.terminology.vocabulary import rows_with_local_vocabularies, store_local_vocabularies, store_of
from pipelines.upkeep.following import pinned_versions
from pipelines.upkeep.keeping import after_run, finish_following

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a run came to: the current release, and the figures of the run; None where nothing had changed."""

    release_id: str
    figures: Figure | None
    times: tuple[StepTime, ...] = ()


def nightly(settings: Settings, run_date: date, *, full: bool = False, show_stage: ShowStage = no_stages) -> RunResult:
    """Check, ingest, curate, map, gate, release, and remove what nothing needs any more.

    Raises the error of whatever is not as it has to be; the current release is then left as it was.
    """
    with _begun(settings, run_date, show_stage, full=full) as (run, logged):
        result = _load(run, logged, full=full)
        after_run(settings, run.store.session, show_stage)
        return result


def run_selected(
    settings: Settings, run_date: date, selectors: Sequence[str], *, full: bool = False, show_stage: ShowStage = no_stages
) -> list[TableName]:
    """Make some tables with everything they need, and release nothing; gives those that were made.

    New deliveries are taken first, as in a whole run; the selector `bronze` asks for nothing else. Raises SelectionError where
    a selector names no table.
    """
    wanted = [selector for selector in selectors if ZONE_OF_STAGE.get(selector, selector) != Zone.BRONZE]
    with _begun(settings, run_date, show_stage, full=full, selectors=selectors) as (run, logged):
        before = {(file.load_id, file.file_id) for file in run.register()}
        _ingest(run, logged)
        if not wanted:
            new = [file for file in run.register() if (file.load_id, file.file_id) not in before]
            logged.ends(RunState.MADE)
            return sorted({TableName(Zone.BRONZE, f"{file.source}_{file.entity}") for file in new})
        logged.enter("declare")
        tables = selected(declared_tables(run, in_contracts(run.register(), run.inputs.contracts)).tables, wanted)
        store_key_fingerprint(settings, run.inputs.key_fingerprint)
        with logged.stage("make"), show_stage("make selected tables", len(tables)) as on_progress:
            runner = run.runner
            made = runner.run(tables, on_progress, full=full)
        _keep_counts(logged, tables, made, runner)
        logged.ends(RunState.MADE)
        return made


def plan_run(settings: Settings, run_date: date, *, full: bool = False) -> list[Step]:
    """The tables that a run would make at most, each with its reason. New deliveries count; nothing is written.

    Those that a run changes before it makes any come first: what withdrawn and new deliveries and new local maps change.
    """
    inputs = read_run_inputs(settings, run_date)
    with open_session(settings.engine, little=reads_little(settings)) as session:
        run = RunContext(run_date, settings, inputs, store_of(session, settings))
        taken_back = without_deliveries(run.register(), withdrawn_ids(run))
        register = taken_back.register
        require_day(run)
        found = new_arrivals(run, register, Checksums.read(settings.storage.restricted))
        used = in_contracts(register, inputs.contracts)
        _require_any(run, used or found.deliveries, found.set_aside)
        is_new = full or bool(found.deliveries) or bool(taken_back.removed)
        if not is_new and current_as_made(run, used) is not None:
            return []
        load = found.load(run_date, register)
        declared = declared_tables(run, (*used, *load.entries({}, {})))
        first = [Step(name, "a delivery is withdrawn") for name in changed_bronze(taken_back)]
        if rows_with_local_vocabularies(run.store, settings, declared.local_maps) is not None:
            first.append(Step(TableName(Zone.VOCABULARY, "vocabulary"), "local maps have other vocabularies"))
        steps = run.runner.plan([*bronze_tables(load, inputs.contracts), *declared.tables], full=full, first=first)
        # What reads the register is made again where bronze has changed: of other sources it has the entries that it had.
        entered = ENTERED if found.deliveries or taken_back.removed else ()
        return [*[Step(name, "deliveries have come or are withdrawn") for name in entered], *steps]


@contextmanager
def _begun(
    settings: Settings, run_date: date, show_stage: ShowStage, *, full: bool, selectors: Sequence[str] = ()
) -> Iterator[tuple[RunContext, RunLog]]:
    """A run with its entry in the list of runs: it holds the lock, its inputs are checked, and the engine is open."""
    with (
        _writing(settings),
        _logged(settings, run_date, full=full, selectors=selectors) as logged,
        _lineage(settings, logged) as lineage,
    ):
        inputs = _checked_inputs(settings, run_date)
        with open_session(settings.engine, little=reads_little(settings)) as session:
            run = RunContext(run_date, settings, inputs, store_of(session, settings), show_stage, lineage)
            require_day(run)
            yield run, logged


@contextmanager
def _writing(settings: Settings) -> Iterator[None]:
    """What a run holds while it writes: the lock of the lakehouse, and rights that keep what it makes to its own account.

    Nothing is read before the lock is held, so a run never goes on from lists that another has replaced.
    """
    with run_lock(settings.storage.restricted, "run"):
        remove_left(rebuilds_folder(settings))
        make_folder(settings.storage.deidentified)
        landing = settings.storage.landing
        if isinstance(landing, Path) and others_may_read(landing, settings.storage.restricted):
            log.warning("other users may read or change the deliveries; run: chmod -R o= %s", landing)
        deidentified = settings.storage.deidentified
        if isinstance(deidentified, Path):
            require_usable(deidentified)
            if others_may_write(deidentified, settings.storage.restricted):
                log.warning("other users may change what analysts read; run: chmod -R o-w %s", deidentified)
        with private_files():
            finish_following(settings)
            yield


@contextmanager
def _logged(settings: Settings, run_date: date, *, full: bool, selectors: Sequence[str]) -> Iterator[RunLog]:
    """The document of the run in the list of runs, which may lack runs: those of earlier versions, and after a restore."""
    restricted = settings.storage.restricted
    with logged_run(restricted, run_date, __version__, runs_before(settings), full=full, selected=selectors) as logged:
        logged.enter("check")
        yield logged


@contextmanager
def _lineage(settings: Settings, logged: RunLog) -> Iterator[Lineage]:
    """What the run sends to those who follow its lineage, where that is configured."""
    lineage = Lineage(settings.lineage, storage_paths(settings))
    with lineage.of_run(logged.run_id, logged.record.run_date, logged.record.started):
        yield lineage


def _keep_counts(logged: RunLog, tables: Sequence[Table], made: Sequence[TableName], runner: Runner) -> None:
    """Keep in the list of runs how many tables were made, and for how many touched persons."""
    of_persons = {table.name for table in tables if table.selection and table.selection.on == ("person_id",)}
    for_touched = [name for name in made if name in runner.named]
    touched = max((named for name, named in runner.named.items() if name in of_persons), default=None)
    counts = TableCounts(whole=len(made) - len(for_touched), for_touched=len(for_touched), current=len(tables) - len(made))
    logged.made(counts, touched=touched)


def _checked_inputs(settings: Settings, run_date: date) -> RunInputs:
    inputs = read_run_inputs(settings, run_date)
    warn_of_later_lists(settings, run_date)
    for facts in inputs.opt_outs.facts:
        age = (run_date - facts.as_at).days
        if age >= settings.opt_outs.warn_at_days:
            left = settings.opt_outs.max_age_days - age
            log.warning("the %s opt-out list is %d days old; fetch a new one within %d days", facts.kind, age, left)
    return inputs


def require_day(run: RunContext) -> None:
    """Raise DeliveryError where extracts of days after the run date are loaded: a run cannot go back to before they came."""
    loaded = without_deliveries(run.register(), withdrawn_ids(run)).register
    newest = max((file.extract_date for file in loaded), default=run.run_date)
    if newest > run.run_date:
        raise DeliveryError(
            f"extracts are loaded up to {newest}, so that a run cannot be of {run.run_date}; give that day or a later one with "
            "--date, or first withdraw what came later (nhs-omop withdraw)"
        )


def _load(run: RunContext, logged: RunLog, *, full: bool) -> RunResult:
    taken = _ingest(run, logged)
    register = in_contracts(run.register(), run.inputs.contracts)
    require_sources(run.settings.run.required, register, taken.set_aside, run.run_date)
    if not full and (current := current_as_made(run, register)) is not None:
        store_lists_used(run.settings, run.inputs.opt_outs)
        logged.ends(RunState.UNCHANGED, current)
        return RunResult(current, None)
    require_known_names(run, run.register())
    store_key_fingerprint(run.settings, run.inputs.key_fingerprint)
    logged.enter("declare")
    declared = declared_tables(run, register)
    store_local_vocabularies(run.store, run.settings, declared.local_maps)
    ledger = _made(run, logged, register, declared, full=full)
    with logged.stage("judge"):
        report = judged(run, logged.run_id, register, declared, ledger)
    with logged.stage("release") as counted:
        check_lists_unchanged(run.settings, run.run_date, run.inputs.opt_outs)
        store_lists_used(run.settings, run.inputs.opt_outs)
        pins = pins_of(run.store, declared.released, run.runner.versions(declared.tables))
        made = make_release(run.settings, run.inputs, register, logged.run_id, run.run_date, report, pins)
        counted["rows"] = sum(table.rows for table in made.tables if table.zone == Zone.OMOP)
    figures = _figures(taken, ledger, report, made.pin("omop", "person").rows)
    logged.ends(RunState.RELEASED, made.release_id)
    return RunResult(made.release_id, figures, tuple(logged.timer.times))


def current_as_made(run: RunContext, register: Sequence[Registered]) -> str | None:
    """The current release where nothing has changed since it was made; None where a run has something to do.

    That is more than that its inputs are those of the run: the tables may since have been made of others, as by a run that
    failed or released nothing. The day alone changes nothing, so the tables are declared as on the day of the release.
    """
    folder, fingerprint = release_folder(run.settings), inputs_fingerprint(run.settings, run.inputs, register)
    made = [release for release in folder.oldest_first() if release.input_fingerprint == fingerprint]
    if not made or made[-1].release_id != folder.current():
        return None
    as_made = replace(run, run_date=made[-1].run_date)
    return None if as_made.runner.plan(declared_tables(as_made, register).tables) else made[-1].release_id


def _ingest(run: RunContext, logged: RunLog) -> Ingested:
    with logged.stage("ingest") as counted:
        taken = ingest_deliveries(run)
        counted["rows"] = taken.rows
    logged.ingested(taken.deliveries, len(taken.set_aside), taken.rows)
    return taken


def ingest_deliveries(run: RunContext) -> Ingested:
    """Take the new deliveries up to the day of the run into bronze; deliveries with faults are set aside one by one.

    Withdrawn deliveries leave bronze and the register first.
    Raises DeliveryError where nothing has ever been loaded, with the faults of all that came.
    """
    register = take_back(run.runner, run.register(), withdrawn_ids(run))
    checksums = Checksums.read(run.settings.storage.restricted)
    found = new_arrivals(run, register, checksums)
    checksums.store(run.settings.storage.restricted)
    accepted = frozenset(entry.delivery_id for entry in read_accepted(run.settings.storage.restricted))
    allowed = Allowed(run.settings.deliveries, accepted)
    taken = ingest(run.runner, found, run.inputs.contracts, register, allowed, run.run_date, run.show_stage)
    store_set_aside(run.settings.storage.restricted, taken.set_aside, run.run_date)
    keep_bronze(run.runner, run.register(), run.inputs.contracts)
    _require_any(run, in_contracts(register, run.inputs.contracts) or range(taken.deliveries), taken.set_aside)
    for warning in taken.warnings[:_MOST_SHOWN]:
        log.warning(warning)
    _show_what_is_not_loaded(taken.set_aside, found.waiting, found.ignored)
    return taken


def new_arrivals(run: RunContext, register: Sequence[Registered], checksums: Checksums) -> Arrivals:
    """Everything new in the landing folder up to the day of the run, checked."""
    inputs, settings = run.inputs, run.settings
    known_sources = sources_in(settings.mappings_dir)
    loaded = {(file.source, file.provider) for file in register}
    landed = find_deliveries(settings.storage.landing, inputs.contracts, run.run_date, known_sources, checksums, loaded)
    columns_read = {source: mapping.columns_read for source, mapping in inputs.mappings.items()}
    earlier = read_set_aside(settings.storage.restricted)
    return arrivals(landed, register, inputs.contracts, columns_read, run.run_date, earlier, withdrawn_ids(run))


def withdrawn_ids(run: RunContext) -> frozenset[str]:
    """The ids of the deliveries that were taken back."""
    return frozenset(entry.delivery_id for entry in read_withdrawn(run.settings.storage.restricted))


def _require_any(run: RunContext, loaded: Sequence[object], set_aside: Sequence[SetAside]) -> None:
    if not loaded:
        raise DeliveryError(nothing_loaded(run.settings.storage.landing, run.inputs.contracts, run.run_date, set_aside))


_MOST_SHOWN = 20


def _show_what_is_not_loaded(set_aside: Sequence[SetAside], waiting: Sequence[DeliveryName], ignored: Sequence[str]) -> None:
    for entry in set_aside[:_MOST_SHOWN]:
        log.warning(entry.message)
    if len(set_aside) > _MOST_SHOWN:
        log.warning("and %d more are set aside; nhs-omop deliveries lists them", len(set_aside) - _MOST_SHOWN)
    if ignored:
        log.warning("ignored in the landing folder: %s", some(ignored))
    if waiting:
        log.info("deliveries of days after the run date wait: %s", some(map(str, waiting)))


def _made(
    run: RunContext, logged: RunLog, register: Sequence[Registered], declared: Declared, *, full: bool
) -> list[LedgerRow]:
    """Bring every table up to date and store the ledger of the run, which is given; the time is kept by stage."""
    tables, runner, run_id = declared.tables, run.runner, logged.run_id
    with logged.stage("make"), run.show_stage("make tables", len(tables)) as on_progress:
        pinned = pinned_versions(release_folder(run.settings).oldest_first())
        runner.drop(asked_for_no_longer(runner.known_tables(), {table.name for table in tables}, pinned))
        _keep_counts(logged, tables, runner.run(tables, on_progress, full=full), runner)
        ledger = ledger_of_run(run, run_id, register)
        runner.run([ledger_table(ledger, run_id)])
    rows = {
        "curate": _sum(ledger, Stage.CURATE, Disposition.DELIVERED),
        "map": _sum(ledger, Stage.CURATE, Disposition.CURRENT),
        "gates": _sum(ledger, Stage.MAP, Disposition.WRITTEN),
    }
    logged.timer.times[-1:] = shared_out(logged.timer.times[-1], runner.seconds, rows)
    return ledger


OF_EVERY_RUN = frozenset(
    {
        TableName(Zone.CURATION, REGISTER),
        TableName(Zone.CURATION, FILE_COLUMNS),
        FIGURES_OF_RUNS,
        *(TableName(Zone.LEDGER, name) for name in (LEDGER_TABLE, GATE_TABLE, FAILING_ROWS, READABLE)),
    }
)
"""The tables that every run enters something of its own into."""


def asked_for_no_longer(
    known: Iterable[TableName], declared: Collection[TableName], pinned: Collection[TableName]
) -> list[TableName]:
    """The tables that runs have made and that nothing asks for any more: no source, setting or suite.

    No run would take people out of them who opt out from now on. Bronze stays, in case that its source comes back, and what a
    release pins stays until that release is gone.
    """
    kept = {*declared, *OF_EVERY_RUN, *pinned}
    return [name for name in known if name.zone is not Zone.BRONZE and name not in kept]


def shared_out(whole: StepTime, seconds: Mapping[TableName, float], rows: Mapping[str, int]) -> list[StepTime]:
    """The time of a run by stage. Stages overlap, so each has the share that its tables have in the work of all tables."""
    work = dict.fromkeys(rows, 0.0)
    for name, taken in seconds.items():
        work[_STAGE_OF_ZONE.get(name.zone, "gates" if name.name.startswith(MEASURES) else "curate")] += taken
    total = sum(work.values()) or 1.0
    return [StepTime(stage, rows[stage], whole.seconds * part / total, whole.peak_gib) for stage, part in work.items()]


_STAGE_OF_ZONE = {
    Zone.SILVER: "curate",
    Zone.CURATION: "curate",
    Zone.QUARANTINE: "curate",
    Zone.INTERMEDIATE: "map",
    Zone.OMOP: "map",
    Zone.VOCABULARY: "map",
}


def _sum(ledger: list[LedgerRow], stage: Stage, disposition: Disposition) -> int:
    return totals_by(ledger, "stage", "disposition").get((stage.value, disposition.value), 0)


def _figures(taken: Ingested, ledger: list[LedgerRow], report: GateReport, people: int) -> Figure:
    """What a run shows of itself, small numbers hidden."""
    set_aside: Figure = {"set_aside": len(taken.set_aside)} if taken.set_aside else {}
    arrived: Figure = {"new_deliveries": taken.deliveries, **set_aside, "new_rows": taken.rows}
    return arrived | run_figures(ledger) | {"gates": _gates(report), "people": shown(people)}


def _gates(report: GateReport) -> str:
    """How many gates let the release pass; a warning does, and so does a waiver, which is said."""
    stopped = len(report.failures) + len(report.waived)
    waived = f", {len(report.waived)} waived" if report.waived else ""
    return f"{len(report.results) - stopped} of {len(report.results)} passed{waived}"
