"""The published rows of every golden patient are the expected ones."""

import pytest

from pipelines.contracts.ledger import IMPLAUSIBLE, Disposition, LedgerRow, check_balance, totals_by
from tests.golden.cases import Case, faults_of, golden_cases
from tests.golden.lakehouse import Published, person_tables

CASES = golden_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_golden_patient(case: Case, published: Published) -> None:
    differences = published.differences(case)
    assert not differences, "\n".join([f"{case.name} ({', '.join(case.rules)})", *differences])


def test_golden_patients_name_only_what_there_is() -> None:
    faults = {case.name: faults_of(case) for case in CASES}
    assert {name: found for name, found in faults.items() if found} == {}


def test_golden_patients_expect_rows_of_people() -> None:
    assert {table for case in CASES for table in case.expect} <= set(person_tables())


def test_titles_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))


def test_the_ledger_balances_and_counts_what_cannot_be(published: Published) -> None:
    ledger = [LedgerRow.of({"run_id": "golden", **row}) for row in published.ledger]
    check_balance(ledger)
    of_consultants = [row for row in ledger if row.rule == "acute_provider" and row.disposition is Disposition.EXCLUDED]
    assert totals_by(of_consultants, "reason") == {("nobody_named",): 3}  # one of each of three trusts
    of_practices = [row for row in ledger if row.source == "gp" and row.reason.startswith(IMPLAUSIBLE)]
    assert totals_by(of_practices, "rule", "disposition", "reason") == {
        ("gp_consultation", "excluded", "implausible:age_above"): 1,
        ("gp_consultation", "excluded", "implausible:before_birth"): 2,
        ("gp_consultation", "excluded", "implausible:start_after_extract"): 2,
        ("gp_death", "excluded", "implausible:death_before_birth"): 1,
        ("gp_issue", "flagged", "implausible:days_supply_out_of_range"): 1,
        ("gp_issue", "flagged", "implausible:quantity_not_positive"): 1,
        ("gp_observation", "flagged", "implausible:unit_unclear"): 1,
        ("gp_death", "excluded", "implausible:start_after_extract"): 1,
        ("gp_person", "excluded", "implausible:born_after_extract"): 1,
        ("gp_person", "excluded", "implausible:born_long_ago"): 1,
        ("gp_registration", "excluded", "implausible:start_after_extract"): 2,
        ("gp_registration", "flagged", "implausible:end_after_extract"): 1,
    }
    of_critical_care = [
        row for row in ledger if row.rule == "acute_detail_critical_care" and row.reason.startswith(IMPLAUSIBLE)
    ]
    assert totals_by(of_critical_care, "disposition", "reason") == {("flagged", "implausible:outside_visit"): 1}
