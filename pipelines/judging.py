"""The gates of a run: what they have counted is judged before anything is released."""

from collections.abc import Collection, Sequence

from pipelines.contracts.ledger import LedgerRow, check_balance
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import CAME_AGAIN
from pipelines.curate.versions import CAME_AGAIN_SCHEMA
from pipelines.declaring import Declared
from pipelines.ingest.register import Registered, delivered_by_provider
from pipelines.quality.change import Figures, age_checks, change_checks, people_check, untaken_checks
from pipelines.quality.expectations.tables import expectations_measured
from pipelines.quality.failing import failing_rows_table
from pipelines.quality.gates import GateReport, Measured, unreadable_checks, withdrawn_checks
from pipelines.quality.policy import Policy
from pipelines.quality.release_figures import FIGURE_SCHEMA, FIGURES, FIGURES_OF_RUNS, figures_of_run
from pipelines.quality.tables import results_table, run_gates
from pipelines.quality.written import require_passed
from pipelines.release.published import ledger_of, release_folder
from pipelines.run_context import RunContext, known_names


def judged(
    run: RunContext, run_id: str, register: Sequence[Registered], declared: Declared, ledger: list[LedgerRow]
) -> GateReport:
    """Judge what the gates have counted, store the results, and demand that they and the ledger hold.

    Raises LedgerError or QualityGateError; both leave the last release as it is.
    """
    check_balance(ledger)
    released, checked, policy = declared.released, declared.checked, Policy(run.settings.gates, run.run_date)
    others = [
        *measures_of_run(run, register, released, ledger),
        *expectations_measured(run.store.paths, run.inputs.expectations, checked),
    ]
    report = run_gates(run.store.paths, checked, run.inputs.contracts, released, run.run_date, ledger, policy, others)
    run.runner.run([results_table(report, run_id), figures_of_run(run_id)])
    if report.failures or report.waived:
        run.runner.run([failing_rows_table(report, run_id, checked, released, policy.given.failing_rows)])
    if run.lineage is not None:
        run.lineage.judged(report, checked)
    require_passed(report)
    return report


def measures_of_run(
    run: RunContext, register: Sequence[Registered], released: Collection[str], ledger: Sequence[LedgerRow]
) -> list[Measured]:
    """What a run has counted of deliveries and of their rows, beside what is measured of its tables."""
    newest = {place: delivered.newest for place, delivered in delivered_by_provider(register).items()}
    return [
        *unreadable_checks(ledger, unread_columns(run)),
        *withdrawn_checks(run.store.paths.records(Zone.LEDGER, CAME_AGAIN, tuple(CAME_AGAIN_SCHEMA))),
        *change_measures(run, released, ledger),
        *age_checks(newest, run.run_date, run.settings.gates.change),
    ]


def unread_columns(run: RunContext) -> frozenset[tuple[str, str, str]]:
    """The delivered columns (source, entity, column) that neither a rule reads nor curate uses."""
    contracts, mappings = run.inputs.contracts, run.inputs.mappings
    unread = {source: mappings[source].unread_columns(contract) for source, contract in contracts.items()}
    places = [(source, entity, names) for source, entities in unread.items() for entity, names in entities.items()]
    return frozenset((source, entity, name) for source, entity, names in places for name in names)


def change_measures(run: RunContext, released: Collection[str], ledger: Sequence[LedgerRow]) -> list[Measured]:
    """What the figures of the tables as they are say of themselves, and against those of the release that readers see.

    A table that is not `released` any more, by configuration, has lost nothing.
    """
    paths, folder = run.store.paths, release_folder(run.settings)
    now = Figures.of(paths.records(*FIGURES, tuple(FIGURE_SCHEMA)))
    measures, current = [people_check(now)], folder.current()
    if current is not None:
        of_release = folder.read(current).run_id
        figures = paths.records(*FIGURES_OF_RUNS, tuple(FIGURE_SCHEMA), where=("run_id", of_release))
        before = Figures.of(figure for figure in figures if not figure["table"] or figure["table"] in released)
        measures += change_checks(now, before, run.settings.gates.change)
        measures += untaken_checks(ledger, ledger_of(run.settings, of_release))
    return measures


def require_known_names(run: RunContext, register: Sequence[Registered]) -> None:
    """Raise ConfigError where a limit or a waiver names no rule, table, column or provider that there is or ever was."""
    settings = run.settings
    known = known_names(settings, run.inputs.contracts, register)
    if known.faults(settings.gates):  # a source that this environment does not load may be named all the same
        known = known_names(settings, load_contracts(settings.mappings_dir), register)
    known.require(settings.gates)
