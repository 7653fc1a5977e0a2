"""Step four: the ledger must balance and every gate must hold."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame

from jobs.steps.context import RunContext
from pipelines.contracts.cdm import cdm_tables
from pipelines.contracts.ledger import LEDGER_SCHEMA, LEDGER_TABLE, LedgerRow, check_balance
from pipelines.contracts.zones import Zone
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateLimits, GateReport, run_gates


def keep_ledger(run: RunContext, ledger: list[LedgerRow]) -> None:
    """Store the ledger of the run, balanced or not."""
    _store(run, [row.record() for row in ledger], LEDGER_TABLE, LEDGER_SCHEMA)


def gate(run: RunContext, ledger: list[LedgerRow]) -> GateReport:
    """Store the results of all checks, then demand that they and the ledger hold.

    Raises LedgerError or QualityGateError; both leave the last release as it is.
    """
    check_balance(ledger)
    cdm = cdm_tables(run.settings.cdm_version)
    limits = run.settings.gates
    with run.console.stage("gates"):
        report = run_gates(
            bronze=_delivered(run, Zone.BRONZE),
            silver=_delivered(run, Zone.SILVER),
            omop={name: run.store.read(zone, name) for name in cdm for zone in _zone_of(run, name)},
            contracts=run.contracts,
            cdm=cdm,
            ledger=ledger,
            limits=GateLimits(limits.max_quarantined_share, limits.min_mapped_share),
        )
    _store(run, report.records(run.run_id), GATE_TABLE, GATE_SCHEMA)
    report.require_passed()
    return report


def _zone_of(run: RunContext, name: str) -> list[Zone]:
    return [zone for zone in (Zone.OMOP, Zone.VOCABULARY) if run.store.exists(zone, name)][:1]


def _delivered(run: RunContext, zone: Zone) -> dict[tuple[str, str], DataFrame]:
    return {
        (source, entity): run.store.read(zone, f"{source}_{entity}")
        for source, contract in run.contracts.items()
        for entity in contract.entities
        if run.store.exists(zone, f"{source}_{entity}")
    }


def _store(
    run: RunContext, records: Sequence[Mapping[str, str | int | float | bool]], name: str, schema: dict[str, str]
) -> None:
    rows = [tuple(record[column] for column in schema) for record in records]
    frame = run.store.session.createDataFrame(rows, ", ".join(f"{column} {kind}" for column, kind in schema.items()))
    run.store.replace_slice(frame, Zone.LEDGER, name, schema, "run_id", run.run_id)
