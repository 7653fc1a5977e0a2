"""The gates before a release: what the counts of the checks and of the ledger mean. Plain arithmetic; nothing is read here."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from math import floor
from typing import Any, Final

from pipelines.contracts.gate_policy import Waiver
from pipelines.contracts.ledger import ORPHAN, TYPE_ONE_UNKNOWN, UNREADABLE, Disposition, LedgerRow, Stage, totals_by
from pipelines.errors import QualityGateError
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.policy import NO_POLICY, Policy

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
    "argument": "string",
    "detail": "string",
    "verdict": "string",
    "waiver_reason": "string",
    "waiver_owner": "string",
    "waiver_until": "date",
    "own_severity": "string",
    "own_tolerance": "double",
}
"""Columns of the stored results: one row per run and check.

`severity` and `tolerance` are what it was judged by, `own_...` what the check has of itself, before any limit. The columns of
waivers are null where there is none.
"""

FAILING_ROWS: Final = "failing_rows"
"""Name of the table of rows that break failed checks, in the zone of ledgers, sliced by run."""

FAILING_SCHEMA: Final = {
    "run_id": "string",
    "zone": "string",
    "table": "string",
    "column": "string",
    "rule": "string",
    "argument": "string",
    "key": "string",
}
"""One row per run, failed check and row that breaks it; `key` has the columns of the key with their values."""

SHOWN_FAILURES: Final = 50
"""Failures that an error message lists; the stored results hold all of them."""


ROWS_TO_JUDGE: Final = 100
"""Rows below which a share of an entity says little."""

FEW_ORPHANS: Final = 5
"""Rows with a missing other row that say nothing of how complete a table is."""

ROWS_SENT_AGAIN: Final = 20
"""Rows of records sent again from which their number says how a provider sends them."""

FEW_VALUES: Final = 5
"""Unreadable values of a column at one provider that say nothing of how it writes them."""


class Verdict(StrEnum):
    """What a check came to. A warned or waived check stops nothing; a waiver that has expired leaves a failed check failed."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Measured:
    """How many of `rows` rows break a check, as the check has it of itself; `detail` says more, in names and counts."""

    check: Check
    rows: int
    violations: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One check as it was judged, with what was counted. `violations` within the tolerance of the check pass.

    `passed` says so whatever a waiver says; `is_waived` that the waiver still held. `own` is the check before any limit.
    """

    check: Check
    rows: int
    violations: int
    passed: bool
    detail: str = ""
    waiver: Waiver | None = None
    is_waived: bool = False
    own: Check | None = None

    @property
    def verdict(self) -> Verdict:
        """What the check came to."""
        if self.passed:
            return Verdict.PASSED
        if self.check.severity is Severity.WARN:
            return Verdict.WARNED
        return Verdict.WAIVED if self.is_waived else Verdict.FAILED

    @property
    def measured(self) -> Measured:
        """What was counted, to be judged again."""
        return Measured(self.own or self.check, self.rows, self.violations, self.detail)

    @property
    def has_expired(self) -> bool:
        """Whether the check stops the release although it was waived once."""
        return self.verdict is Verdict.FAILED and self.waiver is not None

    def record(self, run_id: str) -> dict[str, str | int | float | bool | date | None]:
        """The stored form: the columns of GATE_SCHEMA in order."""
        check, own, waiver = self.check, self.own or self.check, self.waiver
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
            "argument": check.argument,
            "detail": self.detail,
            "verdict": str(self.verdict),
            "waiver_reason": waiver.reason if waiver else None,
            "waiver_owner": waiver.owner if waiver else None,
            "waiver_until": waiver.until if waiver else None,
            "own_severity": str(own.severity),
            "own_tolerance": own.tolerance,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "GateResult":
        """The result of one stored record. Of the waiver it has what is shown; it is of this check alone.

        A record of an earlier version has no more than what it was judged by, and maybe a reason that none may have today.
        """
        own = Check(
            zone=Zone(record["zone"]),
            table=record["table"],
            rule=Rule(record["rule"]),
            column=record["column"],
            argument=record["argument"] or "",
            tolerance=record["tolerance"] if record["own_tolerance"] is None else record["own_tolerance"],
            severity=Severity(record["own_severity"] or record["severity"]),
        )
        check = replace(own, tolerance=record["tolerance"], severity=Severity(record["severity"]))
        waiver = None
        if record["waiver_until"] is not None:
            reason, owner = record["waiver_reason"], record["waiver_owner"]
            waiver = Waiver.model_construct(check=str(check), reason=reason, owner=owner, until=record["waiver_until"])
        return cls(
            check,
            record["rows"],
            record["violations"],
            record["passed"],
            detail=record["detail"] or "",
            waiver=waiver,
            is_waived=record["verdict"] == Verdict.WAIVED,
            own=own,
        )


@dataclass(frozen=True, slots=True)
class GateReport:
    """The results of all checks of a run."""

    results: tuple[GateResult, ...]

    @property
    def failures(self) -> tuple[GateResult, ...]:
        """Broken checks that stop the release."""
        return self._with(Verdict.FAILED)

    @property
    def warnings(self) -> tuple[GateResult, ...]:
        """Broken checks that are only reported."""
        return self._with(Verdict.WARNED)

    @property
    def waived(self) -> tuple[GateResult, ...]:
        """Broken checks that would stop the release and that somebody has accepted for a while."""
        return self._with(Verdict.WAIVED)

    def _with(self, verdict: Verdict) -> tuple[GateResult, ...]:
        return tuple(result for result in self.results if result.verdict is verdict)

    def records(self, run_id: str) -> list[dict[str, str | int | float | bool | date | None]]:
        """All results as stored rows."""
        return [result.record(run_id) for result in self.results]

    def summary(self) -> dict[str, int]:
        """Numbers of checks, as a release keeps them."""
        return {
            "checks": len(self.results),
            "failed": len(self.failures),
            "warnings": len(self.warnings),
            "waived": len(self.waived),
        }


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


def share_checks(ledger: Sequence[LedgerRow], policy: Policy) -> Iterator[Measured]:
    """What the ledger says of shares that are limited. Of themselves these checks allow nothing: the packaged limits do.

    Quarantined rows per source and entity, unmapped coded rows per source. An entity with fewer than ROWS_TO_JUDGE delivered
    rows is judged with its source only.
    """
    for columns in (("source",), ("source", "entity")):
        for key, rows in by_disposition(ledger, Stage.CURATE, *columns).items():
            if len(key) == 1 or rows[Disposition.DELIVERED] >= ROWS_TO_JUDGE:
                check = Check(Zone.RUN, "_".join(key), Rule.QUARANTINED)
                yield Measured(check, rows[Disposition.DELIVERED], rows[Disposition.QUARANTINED])
    yield from _orphan_checks(ledger, policy)
    yield from _unknown_checks(ledger)
    yield from _unmatched_checks(ledger, policy)
    for (source,), rows in by_disposition(ledger, Stage.CODE, "source").items():
        check = Check(Zone.RUN, source, Rule.MAPPED)
        yield Measured(check, rows[Disposition.CODED], rows[Disposition.CODED] - rows[Disposition.STANDARD])


def _orphan_checks(ledger: Sequence[LedgerRow], policy: Policy) -> Iterator[Measured]:
    """Rows whose other row is missing, by reference: of each provider, and of all providers of a source together."""
    references = [row for row in ledger if row.stage is Stage.REFER]
    for columns in (("source", "entity"), ("source", "entity", "provider")):
        rows = totals_by(references, *columns, "disposition", "reason")
        for (*place, disposition, name), referred in rows.items():
            orphans = rows.get((*place, Disposition.ORPHAN, f"{ORPHAN}{name}"), 0)
            check = Check(Zone.RUN, "@".join(["_".join(place[:2]), *place[2:]]), Rule.ORPHANS, name)
            is_judged = orphans > FEW_ORPHANS or (orphans and not policy.limited(check).tolerance)
            if disposition == Disposition.REFERRED and is_judged:
                yield Measured(check, referred, orphans)


def _unknown_checks(ledger: Sequence[LedgerRow]) -> Iterator[Measured]:
    """Rows of a source that are left out because a code which may be a Type 1 opt-out could not be looked up."""
    rows = totals_by((r for r in ledger if r.stage is Stage.CURATE), "source", "disposition", "reason")
    for (source, disposition, reason), unknown in rows.items():
        if (disposition, reason) == (Disposition.OPTED_OUT, TYPE_ONE_UNKNOWN):
            delivered = rows.get((source, Disposition.DELIVERED, ""), 0)
            yield Measured(Check(Zone.RUN, source, Rule.ORPHANS, TYPE_ONE_UNKNOWN), delivered, unknown)


def _unmatched_checks(ledger: Sequence[LedgerRow], policy: Policy) -> Iterator[Measured]:
    """Entries of opt-out lists that match nobody, by how they name the person.

    A short list may name strangers only: fewer than ROWS_TO_JUDGE numbers are judged only if every one has to match. A local
    id comes from the record of a provider, so it is always judged.
    """
    entries = totals_by((r for r in ledger if r.stage is Stage.OPT_OUT), "disposition", "reason")
    for named_by, smallest, reasons in (
        ("number", ROWS_TO_JUDGE, ("number_unknown",)),
        ("local_id", 1, ("provider_unknown", "local_id_unknown")),
    ):
        check = Check(Zone.RUN, "opt_outs", Rule.UNMATCHED, named_by)
        listed = entries.get((Disposition.LISTED, named_by), 0)
        unmatched = sum(entries.get((Disposition.UNMATCHED, reason), 0) for reason in reasons)
        if listed >= smallest or (listed and not policy.limited(check).tolerance):
            yield Measured(check, listed, unmatched)


def unreadable_checks(ledger: Sequence[LedgerRow], unread: Collection[tuple[str, str, str]]) -> Iterator[Measured]:
    """Unreadable values per provider and column, of which the packaged limit allows some.

    `unread` are the columns (source, entity, column) that nothing is made of: what cannot be read there is a warning.
    """
    values = [row for row in ledger if row.stage is Stage.READ]
    given = {
        (row.source, row.entity, row.provider, row.reason): row.rows for row in values if row.disposition is Disposition.GIVEN
    }
    for row in values:
        if row.disposition is Disposition.UNREADABLE and row.rows > FEW_VALUES:
            column = row.reason.removeprefix(UNREADABLE)
            table = f"{row.source}_{row.entity}@{row.provider}"
            severity = Severity.WARN if (row.source, row.entity, column) in unread else Severity.ERROR
            check = Check(Zone.RUN, table, Rule.UNREADABLE, column=column, severity=severity)
            yield Measured(check, given[row.source, row.entity, row.provider, column], row.rows)


def withdrawn_checks(counted: Iterable[Mapping[str, Any]]) -> Iterator[Measured]:
    """Rows that are withdrawn because their record was sent again without them (CAME_AGAIN_SCHEMA), from ROWS_SENT_AGAIN.

    Of a record that is replaced most rows come again. A provider that sends changed rows alone would lose the others.
    """
    for row in counted:
        if row["rows"] >= ROWS_SENT_AGAIN:
            check = Check(Zone.RUN, f"{row['source']}_{row['entity']}@{row['provider']}", Rule.WITHDRAWN)
            detail = f"if {row['provider']} sends changed rows alone, name it in row_by_row of the contract {row['source']}"
            yield Measured(check, row["rows"], row["withdrawn"], detail if row["withdrawn"] else "")


def by_disposition(ledger: Iterable[LedgerRow], stage: Stage, *columns: str) -> dict[tuple[str, ...], dict[Disposition, int]]:
    """The rows of a stage by some columns of the ledger and then by outcome."""
    totals: dict[tuple[str, ...], dict[Disposition, int]] = {}
    for (*key, disposition), rows in totals_by((r for r in ledger if r.stage is stage), *columns, "disposition").items():
        totals.setdefault(tuple(key), defaultdict(int))[Disposition(disposition)] += rows
    return totals


def judge(counts: Iterable[Measured], policy: Policy = NO_POLICY) -> GateReport:
    """What the counts mean: a check passes whose violations are within its tolerance; another may be waived."""
    return GateReport(tuple(_judged(counted, policy) for counted in counts))


def _judged(counted: Measured, policy: Policy) -> GateResult:
    check = policy.limited(counted.check)
    passed = counted.violations <= allowed(counted.rows, check.tolerance)
    waiver = None if passed or check.severity is Severity.WARN else policy.waiver(check)
    return GateResult(
        check,
        counted.rows,
        counted.violations,
        passed,
        detail=counted.detail,
        waiver=waiver,
        is_waived=waiver is not None and waiver.holds_on(policy.day),
        own=counted.check,
    )


def judged_again(results: Iterable[GateResult], ledger: Sequence[LedgerRow], policy: Policy) -> GateReport:
    """What a run has counted, judged by another policy: its results and the shares in its ledger. Nothing is counted again."""
    counted = {_identity(result.measured): result.measured for result in results}
    counted |= {_identity(measured): measured for measured in share_checks(ledger, policy)}
    return judge(counted.values(), policy)


def _identity(counted: Measured) -> tuple[str, ...]:
    check = counted.check
    return str(check.zone), check.table, check.column, str(check.rule), check.argument


def allowed(rows: int, tolerance: float) -> int:
    """The number of rows of a check that may break it."""
    return floor(round(rows * tolerance, 6))
