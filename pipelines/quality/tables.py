"""The tables of the gates: what was counted for every check, and what a run made of it.

Counts are kept apart from what is allowed. So a table of measures is made again only when a checked table has changed, and
another threshold only judges again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pyspark.sql import DataFrame

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.ledger import LedgerRow
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import BelongsTo, Inputs, Partitions, Table, TableName, entered
from pipelines.contracts.zones import Zone
from pipelines.errors import QualityGateError
from pipelines.quality.checks import Check, Rule, contract_checks, omop_checks
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.quality.dqd import dqd_checks
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateReport, Measured, judge, measured, share_checks
from pipelines.quality.measure import MEASURE_SCHEMA, measures
from pipelines.quality.measure_concepts import CONCEPT_RULES
from pipelines.quality.measure_people import needs_people
from pipelines.quality.policy import Policy
from pipelines.storage.documents import digest_of
from pipelines.storage.places import Places

MEASURES: Final = "gate_measures"


@dataclass(frozen=True)
class _Group:
    """The checks that one table of measures holds, and the tables that they read, by how checks name them."""

    name: str
    checks: list[Check]
    reads: dict[tuple[CheckedZone, str], TableName]


def gate_tables(
    checked: Collection[TableName], contracts: Mapping[str, SourceContract], cdm: Mapping[str, CdmTable], run_date: date
) -> list[Table]:
    """The tables of measures of a run: what its contracts ask, counted in the tables that are there.

    `checked` are the tables of the lake; those without a contract are passed over. A table of the release (`cdm`) that is not
    among them is counted as missing. There is one table of measures for each source in bronze and in silver, and five for OMOP.
    Nothing in the CDM may be dated after `run_date`.
    """
    return [_declared(group) for group in _groups(checked, contracts, cdm, run_date)]


def run_gates(
    paths: Places,
    checked: Collection[TableName],
    contracts: Mapping[str, SourceContract],
    cdm: Mapping[str, CdmTable],
    run_date: date,
    ledger: Iterable[LedgerRow],
    policy: Policy,
    others: Iterable[Measured] = (),
) -> GateReport:
    """Judge what the tables of `gate_tables` and the ledger hold, and what `others` counted; no engine is asked.

    A check of a concept that no row has is left out. The report says what failed; `require_passed` stops the run. Raises
    QualityGateError where a check was not counted.
    """
    groups = _groups(checked, contracts, cdm, run_date)
    records = [record for group in groups for record in _records(paths, group)]
    checks = [check for group in groups for check in group.checks]
    counted = [found for found in measured(records, checks) if found.rows or not found.check.concepts]
    return judge([*counted, *share_checks(tuple(ledger), policy), *others], policy)


def results_table(report: GateReport, run_id: str) -> Table:
    """The stored results of all runs, of which this one is made: one row per run and check."""
    records = report.records(run_id)
    rows = [tuple(record[name] for name in GATE_SCHEMA) for record in records]
    name, own = TableName(Zone.LEDGER, GATE_TABLE), Partitions("run_id", (run_id,))
    return entered(name, "one row per run and check", GATE_SCHEMA, BelongsTo.WHOLE, own, rows)


def _groups(
    checked: Collection[TableName], contracts: Mapping[str, SourceContract], cdm: Mapping[str, CdmTable], run_date: date
) -> list[_Group]:
    groups = [
        _delivered(zone, source, contract, checked)
        for zone in (Zone.BRONZE, Zone.SILVER)
        for source, contract in contracts.items()
    ]
    names = {name: zone for zone in (Zone.VOCABULARY, Zone.OMOP) for name in cdm if TableName(zone, name) in checked}
    own, links, concepts, people, vocabulary = (_Group(f"{MEASURES}_{kind}", [], {}) for kind in _OMOP_KINDS)
    for table in cdm.values():
        for check in (*omop_checks(table, run_date), *dqd_checks(table.name, run_date)):
            if table.is_vocabulary:
                _add(vocabulary, check, names, table.name)
            elif check.rule is Rule.FOREIGN_KEY:
                _add(links, check, names, table.name, check.argument.partition(".")[0])
            elif needs_people(check):
                _add(people, check, names, table.name, *_READ_FOR.get(check.rule, ("person", "death")))
            elif check.rule in CONCEPT_RULES or check.concepts:
                _add(concepts, check, names, table.name, "concept")
            else:
                _add(own, check, names, table.name)
    return [group for group in (*groups, own, links, concepts, people, vocabulary) if group.checks]


_OMOP_KINDS: Final = ("omop", "omop_links", "omop_concepts", "omop_people", "vocabulary")

_READ_FOR: Final = {
    Rule.PERSONS: ("person",),
    Rule.ERAS: ("person", "condition_occurrence"),
    Rule.NO_OVERLAP: ("person",),
    Rule.WITHIN_VISIT: ("visit_occurrence",),
    Rule.GENDER: ("person",),
    Rule.GENDER_BELOW: ("person", "concept_ancestor"),
}
"""What a check on people reads besides its table, if not people and their deaths."""


def _delivered(zone: Zone, source: str, contract: SourceContract, checked: Collection[TableName]) -> _Group:
    """The checks of the bronze or silver tables of a source."""
    as_checked = CheckedZone(zone.value)
    entities = [entity for entity in contract.entities if TableName(zone, f"{source}_{entity}") in checked]
    checks = contract_checks(as_checked, [(source, entity) for entity in entities], {source: contract})
    reads = {(as_checked, f"{source}_{entity}"): TableName(zone, f"{source}_{entity}") for entity in entities}
    return _Group(f"{MEASURES}_{zone}_{source}", list(checks), reads)


def _add(group: _Group, check: Check, zones: Mapping[str, Zone], *reads: str) -> None:
    group.checks.append(check)
    group.reads.update({(CheckedZone.OMOP, name): TableName(zones[name], name) for name in reads if name in zones})


def _declared(group: _Group) -> Table:
    asked = [(c.zone, c.table, c.column, c.rule, c.argument) for c in group.checks]
    return Table(
        name=TableName(Zone.LEDGER, group.name),
        grain="one row per check: the rows of its table, and those that break it",
        schema=MEASURE_SCHEMA,
        belongs_to=BelongsTo.WHOLE,
        make=_make(group),
        inputs=tuple(dict.fromkeys(group.reads.values())),
        parameters=digest_of(*map(repr, asked)),
    )


def _make(group: _Group) -> Callable[[Inputs], DataFrame]:
    def make(inputs: Inputs) -> DataFrame:
        return measures(inputs.session, group.checks, {key: inputs.read(*name) for key, name in group.reads.items()})

    return make


def _records(paths: Places, group: _Group) -> list[dict[str, Any]]:
    records = paths.records(Zone.LEDGER, group.name, list(MEASURE_SCHEMA))
    if not records:
        raise QualityGateError(
            f"{Zone.LEDGER}.{group.name} holds no measures; nothing was published and the last release stands"
        )
    return records
