"""NHS numbers of the range 999 000 0000 to 999 999 9999, which are never issued to patients."""

from functools import cache

import numpy as np

from pipelines.errors import ConfigError

TEST_PREFIX = 999
BODIES = 1_000_000
NO_NUMBER = ""
REPEATED_NINES = 9_999_999_999
WEIGHTS = np.arange(10, 1, -1)


def check_digits(bodies: np.ndarray) -> np.ndarray:
    """The Modulus 11 check digit of nine-digit bodies; 10 if the body is never issued."""
    powers = 10 ** np.arange(8, -1, -1, dtype=np.int64)
    digits = bodies[:, None] // powers % 10
    checks: np.ndarray = (11 - (digits * WEIGHTS).sum(axis=1) % 11) % 11
    return checks


@cache
def valid_numbers() -> np.ndarray:
    """All valid numbers of the test range in order, without the placeholder."""
    bodies = TEST_PREFIX * BODIES + np.arange(BODIES, dtype=np.int64)
    checks = check_digits(bodies)
    numbers = (bodies * 10 + checks)[checks < 10]
    issued: np.ndarray = numbers[numbers != REPEATED_NINES]
    return issued


def draw_nhs_numbers(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` different valid NHS numbers of the test range, as ten-digit text.

    Raises ConfigError if the range has fewer than `count` valid numbers.
    """
    numbers = valid_numbers()
    if count > len(numbers):
        raise ConfigError(f"people: {count} asked for, the NHS number test range has {len(numbers)} valid numbers")
    return rng.permutation(numbers)[:count].astype("U10")


def break_check_digit(numbers: np.ndarray) -> np.ndarray:
    """The same numbers with the next check digit, so that none is valid."""
    values = numbers.astype(np.int64)
    return (values // 10 * 10 + (values % 10 + 1) % 10).astype("U10")
