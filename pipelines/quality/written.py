"""The judgement of the gates for people and for other programs: rows to show, plain text, JSON and JUnit XML.

Counts may be of few people. Without `full` small ones are hidden, and with them what would give them away.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from pipelines.errors import QualityGateError
from pipelines.quality.gates import SHOWN_FAILURES, GateReport, GateResult, Verdict
from pipelines.quality.policy import NEVER_WAIVED
from pipelines.quality.suppression import HIDDEN, TOTAL, suppressed

Figure = dict[str, str | int | float | bool | None]

WORST_FIRST: Final = (Verdict.FAILED, Verdict.WAIVED, Verdict.WARNED, Verdict.PASSED)


def in_order(results: Sequence[GateResult]) -> list[GateResult]:
    """The results, failures first, each kind in the order in which the checks were made."""
    return sorted(results, key=lambda result: WORST_FIRST.index(result.verdict))


def shown(result: GateResult, *, full: bool) -> Figure:
    """One result as a row: what was asked of which table, what was counted and allowed, and who waived it."""
    check, waiver = result.check, result.waiver
    rows, violations = _counts(result, full=full)
    return {
        "verdict": str(result.verdict),
        "rule": str(check.rule),
        "zone": str(check.zone),
        "table": check.table,
        "column": check.column,
        "argument": check.argument,
        "severity": str(check.severity),
        "violations": violations,
        "rows": rows,
        "allowed": check.tolerance,
        "detail": result.detail if full else "",
        "waived_by": waiver.owner if waiver else "",
        "waived_until": waiver.until.isoformat() if waiver else "",
        "waived_for": waiver.reason if waiver else "",
        "waiver_has_expired": result.has_expired,
    }


def _counts(result: GateResult, *, full: bool) -> tuple[int | str, int | str]:
    if full or not result.rows:
        return result.rows, result.violations
    # A check on a list of things may count more violations than things.
    others = max(0, result.rows - result.violations)
    cells = suppressed({"check": {"violations": result.violations, "others": others}})["check"]
    return (cells[TOTAL] if result.violations <= result.rows else HIDDEN), cells["violations"]


def sentence(result: GateResult, *, full: bool) -> str:
    """One result in a line."""
    row = shown(result, full=full)
    allowed = f", {result.check.tolerance:.1%} allowed" if result.check.tolerance else ""
    detail = f" ({row['detail']})" if row["detail"] else ""
    waiver = ""
    if result.waiver is not None:
        how = "its waiver ended on" if result.has_expired else "waived until"
        waiver = f"; {how} {row['waived_until']}, {row['waived_by']}: {row['waived_for']}"
    return f"{result.check}: {row['violations']} of {row['rows']}{allowed}{detail}{waiver}"


def require_passed(report: GateReport) -> None:
    """Raise QualityGateError with rule, table and count of each failure, if there is one; small numbers are hidden."""
    failures = report.failures
    if not failures:
        return
    lines = [f"  {sentence(failure, full=False)}" for failure in failures[:SHOWN_FAILURES]]
    if len(failures) > SHOWN_FAILURES:
        lines.append(f"  and {len(failures) - SHOWN_FAILURES} more")
    failed = f"{len(failures)} of {len(report.results)} gates failed"
    can_be_waived = any(failure.check.rule not in NEVER_WAIVED for failure in failures)
    message = f"{failed}; nothing was published and the last release stands\n" + "\n".join(lines)
    raise QualityGateError(message, can_be_waived=can_be_waived)


def as_text(title: str, report: GateReport, *, full: bool) -> str:
    """A line for each check that did not pass, failures first, below a line with the numbers of checks."""
    counts = ", ".join(f"{number} {name}" for name, number in _numbers(report).items())
    broken = [result for result in in_order(report.results) if not result.passed]
    lines = [f"{str(result.verdict).upper():7} {sentence(result, full=full)}" for result in broken]
    return "\n".join([f"{title}: {counts}", *lines]) + "\n"


def as_json(facts: Mapping[str, str], report: GateReport, *, full: bool) -> str:
    """One object with what was judged, the numbers of checks and every result."""
    results = [shown(result, full=full) for result in in_order(report.results)]
    return json.dumps({**facts, **_numbers(report), "results": results}, indent=1) + "\n"


def as_junit(title: str, report: GateReport, *, full: bool) -> str:
    """A JUnit file: a suite for each zone, a case for each check. A waived check is skipped, a warning passes with a note."""
    root = ET.Element("testsuites", name=title)
    by_zone: dict[str, list[GateResult]] = defaultdict(list)
    for result in report.results:
        by_zone[str(result.check.zone)].append(result)
    for zone, results in by_zone.items():
        counts = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
        numbers = {"tests": len(results), "failures": counts[Verdict.FAILED], "skipped": counts[Verdict.WAIVED], "errors": 0}
        suite = ET.SubElement(root, "testsuite", {"name": zone} | {name: str(number) for name, number in numbers.items()})
        for result in results:
            _case(suite, result, full=full)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: GateResult, *, full: bool) -> None:
    check = result.check
    name = " ".join(part for part in (str(check.rule), check.column, check.argument) if part)
    case = ET.SubElement(suite, "testcase", classname=f"{check.zone}.{check.table}", name=name)
    said = sentence(result, full=full)
    match result.verdict:
        case Verdict.FAILED:
            ET.SubElement(case, "failure", message=said, type=str(check.rule))
        case Verdict.WAIVED:
            ET.SubElement(case, "skipped", message=said)
        case Verdict.WARNED:
            ET.SubElement(case, "system-out").text = f"warning: {said}"


def _numbers(report: GateReport) -> dict[str, int]:
    passed = sum(result.passed for result in report.results)
    failed, warned, waived = len(report.failures), len(report.warnings), len(report.waived)
    return {"checks": len(report.results), "passed": passed, "failed": failed, "warned": warned, "waived": waived}
