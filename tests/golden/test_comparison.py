"""The comparison detects every way in which rows can differ."""

import pytest

from tests.golden.cases import Expected
from tests.golden.comparison import difference, is_pairing

FIRST = {"concept": "320128", "end": None}
SECOND = {"concept": "201826", "end": "2024-01-02"}


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ([], [], True),
        ([FIRST], [FIRST], True),
        ([FIRST, SECOND], [SECOND, FIRST], True),
        ([{"concept": "320128"}], [FIRST], True),
        ([{"concept": "320128"}, FIRST], [FIRST, {"concept": "320128", "end": "2024-01-02"}], True),
        ([], [FIRST], False),
        ([FIRST], [], False),
        ([FIRST], [FIRST, FIRST], False),
        ([FIRST, FIRST], [FIRST, SECOND], False),
        ([{"end": "2024-01-02"}], [FIRST], False),
        ([{"end": None}], [SECOND], False),
    ],
    ids=["none", "same", "order", "named_columns", "pairing", "more", "less", "twice", "another", "value", "null"],
)
def test_rows_are_the_expected_ones(expected: list[Expected], actual: list[Expected], same: bool) -> None:
    assert is_pairing(expected, actual) is same


def test_a_difference_shows_both_sides() -> None:
    shown = difference("measurement", [SECOND], [FIRST])
    assert "1 rows expected, 1 found" in shown
    assert "expected concept: 201826, end: 2024-01-02" in shown
    assert "found    concept: 320128, end: null" in shown
