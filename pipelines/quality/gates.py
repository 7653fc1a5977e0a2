"""The gates before a release: Great Expectations suites, built from the contracts, over what `measure` counted.

One suite a zone. Its batch has one row per table and column and one column per rule and severity, holding the rows that
break the rule beyond what it tolerates; the suite expects every one of them to be zero. So the rules stay declarative and
Great Expectations adds no scan of its own: run on each table it would start several jobs for each of some 200 tables.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Final

import pandas as pd
from pyspark.sql import DataFrame

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage, totals_by
from pipelines.contracts.source import SourceContract
from pipelines.errors import QualityGateError
from pipelines.quality.checks import Check, Rule, Severity, Zone, contract_checks, omop_checks
from pipelines.quality.measure import Measured, Tables, measure

GATE_TABLE: Final = "gates"
"""Name of the stored results in the zone of ledgers, sliced by run."""

GATE_SCHEMA: Final = {
    "run_id": "string",
    "zone": "string",
    "table": "string",
    "column": "string",
    "rule": "string",
    "severity": "string",
    "rows": "bigint",
    "violations": "bigint",
    "tolerance": "double",
    "passed": "boolean",
}
"""Columns of the stored results: one row per run and check."""

SHOWN_FAILURES: Final = 50
"""Failures that an error message lists; the stored results hold all of them."""


ROWS_TO_JUDGE: Final = 100
"""Rows below which a share of an entity says little."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Thresholds that are a matter of judgement; every other rule always holds."""

    max_quarantined_share: float = 0.05
    min_mapped_share: float = 0.9


@dataclass(frozen=True, slots=True)
class GateResult:
    """One check with what was counted. `violations` within the tolerance of the check pass."""

    check: Check
    rows: int
    violations: int
    passed: bool

    def record(self, run_id: str) -> dict[str, str | int | float | bool]:
        """The stored form: the columns of GATE_SCHEMA in order."""
        check = self.check
        return {
            "run_id": run_id,
            "zone": str(check.zone),
            "table": check.table,
            "column": check.column,
            "rule": str(check.rule),
            "severity": str(check.severity),
            "rows": self.rows,
            "violations": self.violations,
            "tolerance": check.tolerance,
            "passed": self.passed,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "GateResult":
        """The result of one stored record."""
        check = Check(
            zone=Zone(record["zone"]),
            table=record["table"],
            rule=Rule(record["rule"]),
            column=record["column"],
            tolerance=record["tolerance"],
            severity=Severity(record["severity"]),
        )
        return cls(check, record["rows"], record["violations"], record["passed"])

    def __str__(self) -> str:
        """The result as a message names it: rule, table, column and counts."""
        allowed = f", {self.check.tolerance:.1%} allowed" if self.check.tolerance else ""
        return f"{self.check}: {self.violations} of {self.rows}{allowed}"


@dataclass(frozen=True, slots=True)
class GateReport:
    """The results of all checks of a run."""

    results: tuple[GateResult, ...]

    @property
    def failures(self) -> tuple[GateResult, ...]:
        """Broken checks that stop the release."""
        return tuple(r for r in self.results if not r.passed and r.check.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[GateResult, ...]:
        """Broken checks that are only reported."""
        return tuple(r for r in self.results if not r.passed and r.check.severity is Severity.WARN)

    def require_passed(self) -> None:
        """Raise QualityGateError with rule, table and count of each failure, if there is one."""
        if not self.failures:
            return
        lines = [f"  {failure}" for failure in self.failures[:SHOWN_FAILURES]]
        if len(self.failures) > SHOWN_FAILURES:
            lines.append(f"  and {len(self.failures) - SHOWN_FAILURES} more")
        raise QualityGateError(
            f"{len(self.failures)} of {len(self.results)} gates failed; nothing was published and the last release stands\n"
            + "\n".join(lines)
        )

    def records(self, run_id: str) -> list[dict[str, str | int | float | bool]]:
        """All results as stored rows."""
        return [result.record(run_id) for result in self.results]

    def summary(self) -> dict[str, int]:
        """Numbers of checks, as a release keeps them."""
        return {"checks": len(self.results), "failed": len(self.failures), "warnings": len(self.warnings)}


def run_gates(
    *,
    bronze: Mapping[tuple[str, str], DataFrame],
    silver: Mapping[tuple[str, str], DataFrame],
    omop: Mapping[str, DataFrame],
    contracts: Mapping[str, SourceContract],
    cdm: Mapping[str, CdmTable],
    ledger: Iterable[LedgerRow] = (),
    limits: GateLimits = GateLimits(),
) -> GateReport:
    """Check every table of a run against its contract.

    `bronze` and `silver` are DataFrames by (source, entity); `omop` by CDM table name, the vocabulary tables among them. A
    CDM table that is not given fails its `exists` check. The report says what failed; `require_passed` stops the run.
    """
    tables: Tables = {
        **{(Zone.BRONZE, "_".join(key)): frame for key, frame in bronze.items()},
        **{(Zone.SILVER, "_".join(key)): frame for key, frame in silver.items()},
        **{(Zone.OMOP, name): frame for name, frame in omop.items()},
    }
    checks = [
        *contract_checks(Zone.BRONZE, bronze, contracts),
        *contract_checks(Zone.SILVER, silver, contracts),
        *(check for table in cdm.values() for check in omop_checks(table)),
    ]
    return judge([*measure(checks, tables), *share_checks(tuple(ledger), limits)])


def share_checks(ledger: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    """Quarantined rows per source and entity, and unmapped coded rows per source, against the configured shares.

    An entity with fewer than ROWS_TO_JUDGE delivered rows is judged with its source only.
    """
    for columns in (("source",), ("source", "entity")):
        for key, rows in _by_disposition(ledger, Stage.CURATE, *columns).items():
            if len(key) == 1 or rows[Disposition.DELIVERED] >= ROWS_TO_JUDGE:
                check = Check(Zone.RUN, "_".join(key), Rule.QUARANTINED, tolerance=limits.max_quarantined_share)
                yield Measured(check, rows[Disposition.DELIVERED], rows[Disposition.QUARANTINED])
    for (source,), rows in _by_disposition(ledger, Stage.CODE, "source").items():
        check = Check(Zone.RUN, source, Rule.MAPPED, tolerance=round(1 - limits.min_mapped_share, 6))
        yield Measured(check, rows[Disposition.CODED], rows[Disposition.CODED] - rows[Disposition.STANDARD])


def _by_disposition(ledger: Iterable[LedgerRow], stage: Stage, *columns: str) -> dict[tuple[str, ...], dict[Disposition, int]]:
    totals: dict[tuple[str, ...], dict[Disposition, int]] = {}
    for (*key, disposition), rows in totals_by((r for r in ledger if r.stage is stage), *columns, "disposition").items():
        totals.setdefault(tuple(key), defaultdict(int))[Disposition(disposition)] += rows
    return totals


def judge(measured: Sequence[Measured]) -> GateReport:
    """What the counts mean, by the suite of each zone."""
    by_zone: dict[Zone, list[Measured]] = defaultdict(list)
    for one in measured:
        by_zone[one.check.zone].append(one)
    failed = {key for zone, counts in by_zone.items() for key in _failed(zone, counts)}
    return GateReport(tuple(GateResult(one.check, one.rows, one.violations, _key(one.check) not in failed) for one in measured))


_Key = tuple[Zone, str, str, str]


def _key(check: Check) -> _Key:
    return check.zone, check.table, check.column, _rule_column(check)


def _rule_column(check: Check) -> str:
    """The column of the batch that holds a rule; a rule that both stops and warns has one of each."""
    argument = f" {check.argument}" if check.rule is Rule.PERIOD else ""
    return f"{check.rule}{argument} ({check.severity})"


def _beyond_tolerance(one: Measured) -> int:
    return max(0, one.violations - floor(round(one.rows * one.check.tolerance, 6)))


def _failed(zone: Zone, measured: Sequence[Measured]) -> Iterator[_Key]:
    """Run the suite of one zone and give back the checks that it found broken."""
    batch = pd.DataFrame.from_records(
        [(one.check.table, one.check.column, _rule_column(one.check), _beyond_tolerance(one)) for one in measured],
        columns=["table", "column", "rule", "rows"],
    ).pivot(index=["table", "column"], columns="rule", values="rows")
    result_format = {"result_format": "COMPLETE", "unexpected_index_column_names": ["table", "column"]}
    validation = _validate(zone, list(batch.columns), batch.reset_index(), result_format)
    for outcome in validation.results:
        if not outcome.success:
            column = outcome.expectation_config.kwargs["column"]
            for row in outcome.result["unexpected_index_list"]:
                yield zone, row["table"], row["column"], column


def _validate(zone: Zone, rules: Sequence[str], batch: pd.DataFrame, result_format: dict[str, Any]) -> Any:
    """The result of the zone's suite. Great Expectations is loaded here: its import takes seconds, and it reports use
    to its makers unless told not to.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations import expectations as gxe

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite(
        name=str(zone),
        expectations=[gxe.ExpectColumnValuesToBeBetween(column=rule, min_value=0, max_value=0) for rule in rules],
    )
    asset = context.data_sources.add_pandas(str(zone)).add_dataframe_asset("counts")
    whole = asset.add_batch_definition_whole_dataframe("run").get_batch({"dataframe": batch})
    return whole.validate(suite, result_format=result_format)
