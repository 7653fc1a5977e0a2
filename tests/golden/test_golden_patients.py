"""The published rows of every golden patient are the expected ones."""

import pytest

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
