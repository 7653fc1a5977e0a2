"""The gates before a release: what the counts of the checks and of the ledger mean. Plain arithmetic; nothing is read here."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Final

from pipelines.contracts.ledger import ORPHAN, TYPE_ONE_UNKNOWN, UNREADABLE, Disposition, LedgerRow, Stage, totals_by
from pipelines.errors import QualityGateError
from pipelines.quality.checks import Check, Rule, Severity, Zone

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

FEW_ORPHANS: Final = 5
"""Rows with a missing other row that say nothing of how complete a table is."""

FEW_VALUES: Final = 5
"""Unreadable values of a column at one provider that say nothing of how it writes them."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Thresholds that are a matter of judgement; every other rule always holds."""

    max_quarantined_share: float = 0.05
    min_mapped_share: float = 0.9
    max_unmatched_numbers: float = 0.95
    max_unmatched_local_ids: float = 0.5
    max_orphan_share: float = 0.2
    max_unreadable_share: float = 0.05
    max_untaken_growth: float = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    """How many of `rows` rows break a check."""

    check: Check
    rows: int
    violations: int


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


def measured(records: Iterable[Mapping[str, Any]], checks: Sequence[Check]) -> list[Measured]:
    """What was stored for each check. A check on a column that is not there has no record: the `columns` check fails.

    Raises QualityGateError where a check of a table with all its columns was not counted: it must not pass unseen.
    """
    names = ("zone", "table", "column", "rule", "argument")
    stored = {tuple(str(record[name]) for name in names): record for record in records}
    found: list[Measured] = []
    missing: list[Check] = []
    for check in checks:
        record = stored.get(tuple(str(getattr(check, name)) for name in names))
        if record is None:
            missing.append(check)
        else:
            found.append(Measured(check, record["rows"], record["violations"]))
    explained = {(m.check.zone, m.check.table) for m in found if m.check.rule in (Rule.EXISTS, Rule.COLUMNS) and m.violations}
    unseen = [str(check) for check in missing if (check.zone, check.table) not in explained]
    if unseen:
        lines = "\n  ".join(unseen[:SHOWN_FAILURES])
        raise QualityGateError(f"{len(unseen)} checks were not counted; nothing was published\n  {lines}")
    return found


def share_checks(ledger: Sequence[LedgerRow], limits: GateLimits, released: Sequence[LedgerRow] = ()) -> Iterator[Measured]:
    """What the ledger says against the configured shares, and against the ledger of the current release (`released`).

    Quarantined rows per source and entity, unreadable values per provider and column, unmapped coded rows per source. An
    entity with fewer than ROWS_TO_JUDGE delivered rows is judged with its source only.
    """
    for columns in (("source",), ("source", "entity")):
        for key, rows in _by_disposition(ledger, Stage.CURATE, *columns).items():
            if len(key) == 1 or rows[Disposition.DELIVERED] >= ROWS_TO_JUDGE:
                check = Check(Zone.RUN, "_".join(key), Rule.QUARANTINED, tolerance=limits.max_quarantined_share)
                yield Measured(check, rows[Disposition.DELIVERED], rows[Disposition.QUARANTINED])
    yield from _orphan_checks(ledger, limits)
    yield from _unknown_checks(ledger, limits)
    yield from _unmatched_checks(ledger, limits)
    yield from _unreadable_checks(ledger, limits)
    yield from _untaken_checks(ledger, released, limits)
    for (source,), rows in _by_disposition(ledger, Stage.CODE, "source").items():
        check = Check(Zone.RUN, source, Rule.MAPPED, tolerance=round(1 - limits.min_mapped_share, 6))
        yield Measured(check, rows[Disposition.CODED], rows[Disposition.CODED] - rows[Disposition.STANDARD])


def _orphan_checks(ledger: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    """Rows whose other row is missing, by reference: of each provider, and of all providers of a source together."""
    references = [row for row in ledger if row.stage is Stage.REFER]
    for columns in (("source", "entity"), ("source", "entity", "provider")):
        rows = totals_by(references, *columns, "disposition", "reason")
        for (*place, disposition, name), referred in rows.items():
            orphans = rows.get((*place, Disposition.ORPHAN, f"{ORPHAN}{name}"), 0)
            is_judged = orphans > FEW_ORPHANS or (orphans and not limits.max_orphan_share)
            if disposition == Disposition.REFERRED and is_judged:
                table = "@".join(["_".join(place[:2]), *place[2:]])
                yield Measured(Check(Zone.RUN, table, Rule.ORPHANS, name, tolerance=limits.max_orphan_share), referred, orphans)


def _unknown_checks(ledger: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    """Rows of a source that are left out because a code which may be a Type 1 opt-out could not be looked up."""
    rows = totals_by((r for r in ledger if r.stage is Stage.CURATE), "source", "disposition", "reason")
    for (source, disposition, reason), unknown in rows.items():
        if (disposition, reason) == (Disposition.OPTED_OUT, TYPE_ONE_UNKNOWN):
            delivered = rows.get((source, Disposition.DELIVERED, ""), 0)
            check = Check(Zone.RUN, source, Rule.ORPHANS, TYPE_ONE_UNKNOWN, tolerance=limits.max_orphan_share)
            yield Measured(check, delivered, unknown)


def _unmatched_checks(ledger: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    """Entries of opt-out lists that match nobody, by how they name the person.

    A short list may name strangers only: fewer than ROWS_TO_JUDGE numbers are judged only if every one has to match. A local
    id comes from the record of a provider, so it is always judged.
    """
    entries = totals_by((r for r in ledger if r.stage is Stage.OPT_OUT), "disposition", "reason")
    for named_by, tolerance, smallest, reasons in (
        ("number", limits.max_unmatched_numbers, ROWS_TO_JUDGE, ("number_unknown",)),
        ("local_id", limits.max_unmatched_local_ids, 1, ("provider_unknown", "local_id_unknown")),
    ):
        listed = entries.get((Disposition.LISTED, named_by), 0)
        unmatched = sum(entries.get((Disposition.UNMATCHED, reason), 0) for reason in reasons)
        if listed >= smallest or (listed and not tolerance):
            yield Measured(Check(Zone.RUN, "opt_outs", Rule.UNMATCHED, named_by, tolerance=tolerance), listed, unmatched)


def _unreadable_checks(ledger: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    values = [row for row in ledger if row.stage is Stage.READ]
    given = {
        (row.source, row.entity, row.provider, row.reason): row.rows for row in values if row.disposition is Disposition.GIVEN
    }
    for row in values:
        if row.disposition is Disposition.UNREADABLE and row.rows > FEW_VALUES:
            column = row.reason.removeprefix(UNREADABLE)
            table = f"{row.source}_{row.entity}@{row.provider}"
            check = Check(Zone.RUN, table, Rule.UNREADABLE, column=column, tolerance=limits.max_unreadable_share)
            yield Measured(check, given[row.source, row.entity, row.provider, column], row.rows)


def _untaken_checks(ledger: Sequence[LedgerRow], released: Sequence[LedgerRow], limits: GateLimits) -> Iterator[Measured]:
    """Rows of an entity that no rule takes, against their share in the current release.

    An entity that is new, or has fewer than ROWS_TO_JUDGE rows now or then, is not judged.
    """
    before = _by_disposition(released, Stage.TAKE, "source", "entity")
    for key, rows in _by_disposition(ledger, Stage.TAKE, "source", "entity").items():
        then, silver = before.get(key, {}), rows[Disposition.SILVER]
        if min(silver, then.get(Disposition.SILVER, 0)) >= ROWS_TO_JUDGE:
            share = then.get(Disposition.UNTAKEN, 0) / then[Disposition.SILVER]
            tolerance = min(1.0, round(share + limits.max_untaken_growth, 6))
            yield Measured(Check(Zone.RUN, "_".join(key), Rule.UNTAKEN, tolerance=tolerance), silver, rows[Disposition.UNTAKEN])


def _by_disposition(ledger: Iterable[LedgerRow], stage: Stage, *columns: str) -> dict[tuple[str, ...], dict[Disposition, int]]:
    totals: dict[tuple[str, ...], dict[Disposition, int]] = {}
    for (*key, disposition), rows in totals_by((r for r in ledger if r.stage is stage), *columns, "disposition").items():
        totals.setdefault(tuple(key), defaultdict(int))[Disposition(disposition)] += rows
    return totals


def judge(counts: Iterable[Measured]) -> GateReport:
    """What the counts mean: a check passes whose violations are within its tolerance."""
    return GateReport(tuple(GateResult(m.check, m.rows, m.violations, m.violations <= allowed(m)) for m in counts))


def allowed(counted: Measured | GateResult) -> int:
    """The number of rows that may break a check."""
    return floor(round(counted.rows * counted.check.tolerance, 6))
