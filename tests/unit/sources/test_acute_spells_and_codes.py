"""The building blocks of the acute, mental health and community extracts."""

import numpy as np
import pytest

from pipelines.synthetic.sources.acute_measures import decimal_text, news2_total
from pipelines.synthetic.sources.children import children_of, joined, number_within
from pipelines.synthetic.sources.monthly import first_night_of_months, month_end, month_number
from pipelines.synthetic.sources.submitted_codes import icd10_as_submitted, opcs4_as_submitted, undivided_padded, with_unknown


def test_children_follow_their_parents_in_order() -> None:
    parent, position = children_of(np.array([2, 0, 3]))
    assert parent.tolist() == [0, 0, 2, 2, 2]
    assert position.tolist() == [0, 1, 0, 1, 2]


def test_number_within_starts_again_at_each_parent() -> None:
    assert number_within(np.array([4, 4, 7, 7, 7, 9])).tolist() == [0, 1, 0, 1, 2, 0]
    assert number_within(np.array([], dtype=int)).tolist() == []


def test_joined_gives_every_pair_of_equal_values() -> None:
    left, right = joined(np.array([5, 1, 9]), np.array([1, 1, 5]))
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("month", "number"), [("2019-04", 1429), ("2021-10", 1459), ("2024-04", 1489)], ids=["2019", "2021", "2024"]
)
def test_month_number_is_the_national_one(month: str, number: int) -> None:
    assert month_number(np.array([month], dtype="datetime64[M]")).tolist() == [number]


def test_month_end_respects_leap_years() -> None:
    months = np.array(["2024-02", "2025-02"], dtype="datetime64[M]")
    assert month_end(months).astype(str).tolist() == ["2024-02-29", "2025-02-28"]


def test_first_night_of_months_is_the_earliest() -> None:
    month = np.array(["2025-01", "2025-01", "2025-02"], dtype="datetime64[M]")
    person, found, night = first_night_of_months(np.array([3, 3, 3]), month, np.array([1, 0, 1]))
    assert person.tolist() == [3, 3]
    assert found.astype(str).tolist() == ["2025-01", "2025-02"]
    assert night.tolist() == [0, 1]


def test_undivided_categories_are_padded_and_others_are_not() -> None:
    assert undivided_padded(np.array(["I10", "E119"])).tolist() == ["I10X", "E119"]


def test_codes_of_story_people_are_plain() -> None:
    rng = np.random.default_rng(1)
    codes = np.array(["I10", "E119"] * 500)
    plain = np.ones(len(codes), dtype=bool)
    assert set(icd10_as_submitted(rng, codes, plain)) == {"I10X", "E119"}
    assert set(opcs4_as_submitted(rng, np.array(["W371"] * 500), plain[:500])) == {"W371"}
    assert set(with_unknown(rng, codes, np.array(["Q99X"]), 1.0, plain)) == {"I10", "E119"}


def test_odd_forms_keep_the_positions_of_the_code() -> None:
    rng = np.random.default_rng(1)
    codes = np.array(["I10", "E119"] * 2000)
    forms = set(icd10_as_submitted(rng, codes, np.zeros(len(codes), dtype=bool)))
    expected = {"I10X", "I10X-", "I10X-D", "I10.X", "I10X  ", "i10x", "E119", "E119-", "E119-D", "E11.9", "E119  ", "e119"}
    assert forms == expected


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ((16, 97, 130, 75, 70, 37.0), 0),
        ((8, 91, 90, 50, 40, 35.0), 15),
        ((25, 93, 220, 80, 131, 39.1), 13),
        ((9, 94, 110, 60, 91, 38.1), 5),
    ],
    ids=["well", "all low", "all high", "at the limits"],
)
def test_news2_total_adds_the_points_of_the_bands(values: tuple[float, ...], total: int) -> None:
    assert news2_total(np.array([values])).tolist() == [total]


def test_decimal_text_writes_each_number_with_its_decimals() -> None:
    texts = decimal_text(np.array([36.84, 120.0, np.nan, 0.41, -1.5]), np.array([1, 0, 0, 2, 1]))
    assert texts.to_pylist() == ["36.8", "120", None, "0.41", "-1.5"]
