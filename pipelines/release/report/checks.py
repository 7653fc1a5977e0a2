"""What a report says of the checks before a release."""

from collections import Counter
from collections.abc import Sequence

from pipelines.quality.gates import GateResult, Verdict
from pipelines.quality.written import in_order
from pipelines.release.report.sections import Cell, Edition, Section, Topic


def outcomes(results: Sequence[GateResult]) -> Counter[Verdict]:
    """The number of checks by what they came to."""
    return Counter(result.verdict for result in results)


def broken_checks(results: Sequence[GateResult], edition: Edition) -> Section:
    """The checks that did not pass, the failed ones first. Numbers of rows are in the full edition only."""
    broken = in_order(sorted((result for result in results if not result.passed), key=lambda result: str(result.check)))
    return Section(
        "Checks that did not pass",
        [_row(result, edition) for result in broken],
        note="The full edition has the numbers of rows." if broken and edition is Edition.SUPPRESSED else "",
        empty="Every check passed." if results else "The run did not come to the checks.",
        topic=Topic.GATES,
    )


def _row(result: GateResult, edition: Edition) -> dict[str, Cell]:
    check, waiver = result.check, result.waiver
    row: dict[str, Cell] = {
        "outcome": str(result.verdict),
        "rule": str(check.rule),
        "table": f"{check.zone}.{check.table}",
        "column": check.column,
        "severity": str(check.severity),
    }
    if edition is Edition.FULL:
        row |= {"broken_rows": result.violations, "of_rows": result.rows, "allowed": f"{check.tolerance:.1%}"}
    if waiver is not None:
        row |= {"waived_for": waiver.reason, "waived_by": waiver.owner, "waived_until": waiver.until.isoformat()}
    return row
