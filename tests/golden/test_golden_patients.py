"""Each golden patient: the published rows of the person are the written-out ones."""

import pytest

from tests.golden.cases import Case, faults_of, golden_cases
from tests.golden.comparison import difference, is_pairing
from tests.golden.lakehouse import Published, person_tables

CASES = golden_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_golden_patient(case: Case, published: Published) -> None:
    differences = []
    for table, expected in case.expect.items():
        columns = list(dict.fromkeys(name for row in expected for name in row))
        rows = published.rows_of(case, table)
        shown = columns or [name for name, value in (rows[0] if rows else {}).items() if value is not None]
        actual = [{name: published.value(table, row, name) for name in shown} for row in rows]
        if not is_pairing(expected, actual):
            differences.append(difference(table, expected, actual))
    assert not differences, "\n".join([f"{case.name} ({', '.join(case.rules)})", *differences])


def test_golden_patients_name_only_what_there_is() -> None:
    faults = {case.name: faults_of(case) for case in CASES}
    assert {name: found for name, found in faults.items() if found} == {}


def test_golden_patients_expect_rows_of_people() -> None:
    assert {table for case in CASES for table in case.expect} <= set(person_tables())


def test_titles_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))
