"""What a report says of the checks before a release."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pipelines.quality.gates import GateResult
from pipelines.release.report.sections import Cell, Edition, Section, Topic

FAILED, WAIVED, WARNED, PASSED = "failed", "waived", "warned", "passed"

_RANK: Final = {FAILED: 0, WAIVED: 1, WARNED: 2}
"""The outcomes of checks that did not pass, the worst first."""

_WAIVER: Final = ("waiver_reason", "waiver_owner", "waiver_until")


def outcome_of(result: GateResult) -> str:
    """What a check came to: passed, failed, warned or waived."""
    stored = result.record("").get("outcome")
    if stored is not None:
        return str(stored)
    return PASSED if result.passed else FAILED if result.check.severity == "error" else WARNED


def outcomes(results: Sequence[GateResult]) -> Counter[str]:
    """The number of checks by outcome."""
    return Counter(map(outcome_of, results))


def broken_checks(results: Sequence[GateResult], edition: Edition) -> Section:
    """The checks that did not pass, the failed ones first. Numbers of rows are in the full edition only."""
    broken = [result for result in results if outcome_of(result) in _RANK]
    broken.sort(key=lambda result: (_RANK[outcome_of(result)], str(result.check)))
    return Section(
        "Checks that did not pass",
        [_row(result, edition) for result in broken],
        note="The full edition has the numbers of rows." if broken and edition is Edition.SUPPRESSED else "",
        empty="Every check passed." if results else "The run did not come to the checks.",
        topic=Topic.GATES,
    )


def _row(result: GateResult, edition: Edition) -> dict[str, Cell]:
    check, stored = result.check, result.record("")
    row: dict[str, Cell] = {
        "outcome": outcome_of(result),
        "rule": str(check.rule),
        "table": f"{check.zone}.{check.table}",
        "column": check.column,
        "severity": str(check.severity),
    }
    if edition is Edition.FULL:
        row |= {"broken_rows": result.violations, "of_rows": result.rows, "allowed": f"{check.tolerance:.1%}"}
    return row | {name: str(stored[name]) for name in _WAIVER if stored.get(name) is not None}
