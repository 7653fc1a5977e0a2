import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.synthetic.nhs_numbers import break_check_digit, check_digits, draw_nhs_numbers


def is_valid(number: str) -> bool:
    digits = [int(digit) for digit in number]
    rest = 11 - sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    return len(digits) == 10 and rest % 11 == digits[9]


@pytest.mark.parametrize("number", [9434765919, 4505577104, 9990000018, 9990000026, 9990000034])
def test_known_numbers_have_their_check_digit(number: int) -> None:
    assert check_digits(np.array([number // 10])).tolist() == [number % 10]


def test_a_body_whose_check_digit_would_be_ten_is_reported() -> None:
    assert check_digits(np.array([999000000])).tolist() == [10]


def test_numbers_are_valid_different_and_of_the_test_range() -> None:
    numbers = draw_nhs_numbers(np.random.default_rng(1), 5000)
    assert len(set(numbers)) == 5000
    assert all(number.startswith("999") and is_valid(number) for number in numbers)


def test_the_whole_range_can_be_given_out_but_no_more() -> None:
    numbers = draw_nhs_numbers(np.random.default_rng(1), 900_000)
    assert len(np.unique(numbers)) == 900_000
    assert "9999999999" not in numbers
    with pytest.raises(ConfigError, match=r"people: 950000 asked for, .* has 9\d{5} valid"):
        draw_nhs_numbers(np.random.default_rng(1), 950_000)


@settings(max_examples=20, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_a_broken_number_is_never_valid(seed: int) -> None:
    numbers = draw_nhs_numbers(np.random.default_rng(seed), 50)
    assert not any(is_valid(number) for number in break_check_digit(numbers))
