"""The judgement of the gates as text, JSON and JUnit XML, with small numbers hidden and in full."""

import json
from datetime import date
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.gate_policy import GatePolicy
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.gates import GateReport, Measured, judge, judged_again, share_checks
from pipelines.quality.policy import Policy
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.quality.written import as_json, as_junit, as_text
from tests.builders.policies import limit, policy

POLICY = Policy(
    GatePolicy.model_validate(
        {
            "waivers": [
                {"check": "required on omop.person", "reason": "ticket <1> & 2", "owner": "Ann", "until": "2026-02-01"},
                {"check": "unique", "reason": "until spring", "owner": "Bob", "until": "2026-01-04"},
            ]
        }
    ),
    date(2026, 1, 5),
)
REPORT = judge(
    [
        Measured(Check(Zone.SILVER, "gp_patient", Rule.WITHHELD, "_withheld", severity=Severity.WARN), 5000, 3),
        Measured(Check(Zone.OMOP, "person", Rule.REQUIRED, "year_of_birth"), 5000, 20),
        Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), 5000, 4998),
        Measured(Check(Zone.OMOP, "person", Rule.LENGTH, "person_source_value", "50"), 5000, 0),
        Measured(Check(Zone.RUN, "gp", Rule.ROWS_LOST, tolerance=0.2), 100, 30, "100 before, 70 now"),
    ],
    POLICY,
)

TEXT = """\
gates of run r: 5 checks, 1 passed, 2 failed, 1 warned, 1 waived
FAILED  unique on omop.person.person_id: 4998 of 5000; its waiver ended on 2026-01-04, Bob: until spring
FAILED  rows_lost on run.gp: 30 of 100, 20.0% allowed (100 before, 70 now)
WAIVED  required on omop.person.year_of_birth: 20 of 5000; waived until 2026-02-01, Ann: ticket <1> & 2
WARNED  withheld on silver.gp_patient._withheld: 3 of 5000
"""


def test_the_text_names_what_does_not_pass_the_worst_first() -> None:
    assert as_text("gates of run r", REPORT, full=True) == TEXT


def test_small_numbers_are_hidden_and_what_gives_them_away() -> None:
    hidden = TEXT.replace("3 of 5000", "* of 5000").replace("4998 of 5000", "* of 5000").replace(" (100 before, 70 now)", "")
    assert as_text("gates of run r", REPORT, full=False) == hidden


@given(rows=st.integers(0, 40), share=st.integers(0, 40))
def test_no_small_number_of_rows_is_shown_or_left_between_those_that_are(rows: int, share: int) -> None:
    violations = min(share, rows)
    report = judge([Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), rows, violations)])
    (row,) = json.loads(as_json({}, report, full=False))["results"]
    numbers = [n for n in (row["rows"], row["violations"]) if n != "*"]
    if len(numbers) == 2:
        numbers.append(row["rows"] - row["violations"])
    assert not any(0 < n < SMALLEST_SHOWN for n in numbers)


def test_the_json_has_every_result() -> None:
    written = json.loads(as_json({"run": "r"}, REPORT, full=True))
    assert {name: written[name] for name in ("run", "checks", "passed", "failed", "warned", "waived")} == {
        "run": "r",
        "checks": 5,
        "passed": 1,
        "failed": 2,
        "warned": 1,
        "waived": 1,
    }
    assert [row["verdict"] for row in written["results"]] == ["failed", "failed", "waived", "warned", "passed"]
    assert written["results"][0] == {
        "verdict": "failed",
        "rule": "unique",
        "zone": "omop",
        "table": "person",
        "column": "person_id",
        "argument": "",
        "severity": "error",
        "violations": 4998,
        "rows": 5000,
        "allowed": 0.0,
        "detail": "",
        "waived_by": "Bob",
        "waived_until": "2026-01-04",
        "waived_for": "until spring",
        "waiver_has_expired": True,
    }


CHILDREN = {"testsuites": {"testsuite"}, "testsuite": {"testcase"}, "testcase": {"failure", "skipped", "system-out"}}
REQUIRED = {
    "testsuites": {"name"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"classname", "name"},
    "failure": {"message", "type"},
    "skipped": {"message"},
    "system-out": set[str](),
}
"""What readers of JUnit files (Jenkins, GitLab, Azure DevOps) have in common: elements, their children and their attributes."""


def faults(element: ET.Element) -> list[str]:
    """What of an element and those in it is not as JUnit readers expect it."""
    found = [] if set(element.attrib) == REQUIRED[element.tag] else [f"{element.tag}: {sorted(element.attrib)}"]
    found += [f"{child.tag} in {element.tag}" for child in element if child.tag not in CHILDREN.get(element.tag, set())]
    return found + [fault for child in element if child.tag in REQUIRED for fault in faults(child)]


def test_the_junit_file_has_a_suite_for_each_zone_and_a_case_for_each_check() -> None:
    root = ET.fromstring(as_junit("gates of run r", REPORT, full=True))
    assert (root.tag, faults(root)) == ("testsuites", [])
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["silver", "omop", "run"]
    assert suites["omop"].attrib == {"name": "omop", "tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    for suite in root:
        assert suite.get("tests") == str(len(suite))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    cases: dict[tuple[Any, Any], list[tuple[str, Any]]] = {
        (case.get("classname"), case.get("name")): [(part.tag, part.get("message") or part.text) for part in case]
        for case in root.iter("testcase")
    }
    assert cases == {
        ("silver.gp_patient", "withheld _withheld"): [
            ("system-out", "warning: withheld on silver.gp_patient._withheld: 3 of 5000")
        ],
        ("omop.person", "required year_of_birth"): [
            ("skipped", "required on omop.person.year_of_birth: 20 of 5000; waived until 2026-02-01, Ann: ticket <1> & 2")
        ],
        ("omop.person", "unique person_id"): [
            ("failure", "unique on omop.person.person_id: 4998 of 5000; its waiver ended on 2026-01-04, Bob: until spring")
        ],
        ("omop.person", "length person_source_value 50"): [],
        ("run.gp", "rows_lost"): [("failure", "rows_lost on run.gp: 30 of 100, 20.0% allowed (100 before, 70 now)")],
    }


@pytest.mark.parametrize(("share", "failed"), [(0.2, []), (0.05, ["mapped_share on run.gp"])])
def test_what_was_counted_is_judged_again_by_other_limits(share: float, failed: list[str]) -> None:
    def rows(disposition: Disposition, n: int) -> LedgerRow:
        return LedgerRow("run", Stage.CODE, "gp", "patient", disposition, n, rule="gp_condition")

    ledger = [rows(Disposition.CODED, 100), rows(Disposition.STANDARD, 89)]
    first = policy(limit("mapped_share", 0.9))
    stored: GateReport = judge([*REPORT_COUNTS, *share_checks(ledger, first)], first)
    again = judged_again(stored.results, ledger, policy(limit("mapped_share", share)))
    assert [str(failure.check) for failure in again.failures] == ["unique on omop.person.person_id", *failed]
    assert len(again.results) == len(stored.results)
    assert [str(warning.check) for warning in again.warnings] == ["unreadable_share on run.gp_patient@P1.kind"]


UNREAD = Check(Zone.RUN, "gp_patient@P1", Rule.UNREADABLE, "kind", severity=Severity.WARN)
REPORT_COUNTS = [Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), 5000, 1), Measured(UNREAD, 100, 90)]
