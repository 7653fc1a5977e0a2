"""NHS numbers of the range 999 000 0000 to 999 999 9999, which is never given to a patient."""

from functools import cache

import numpy as np

from pipelines.errors import ConfigError

TEST_PREFIX = 999
BODIES = 1_000_000
NO_NUMBER = ""
REPEATED_NINES = 9_999_999_999
WEIGHTS = np.arange(10, 1, -1)


def check_digits(bodies: np.ndarray) -> np.ndarray:
    """The Modulus 11 check digit of nine-digit bodies; 10 where the body is never issued."""
    powers = 10 ** np.arange(8, -1, -1, dtype=np.int64)
    digits = bodies[:, None] // powers % 10
    return (11 - (digits * WEIGHTS).sum(axis=1) % 11) % 11


@cache
def valid_numbers() -> np.ndarray:
    """All valid numbers of the test range but the one that is a placeholder, in order."""
    bodies = TEST_PREFIX * BODIES + np.arange(BODIES, dtype=np.int64)
    checks = check_digits(bodies)
    numbers = (bodies * 10 + checks)[checks < 10]
    return numbers[numbers != REPEATED_NINES]


def draw_nhs_numbers(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` different valid NHS numbers of the test range, as ten-digit text.

    Raises ConfigError when the range has fewer valid numbers than asked for.
    """
    numbers = valid_numbers()
    if count > len(numbers):
        raise ConfigError(f"people: {count} asked for, the NHS number test range has {len(numbers)} valid numbers")
    return rng.permutation(numbers)[:count].astype("U10")


def break_check_digit(numbers: np.ndarray) -> np.ndarray:
    """The same numbers with the next check digit, so that none is valid."""
    values = numbers.astype(np.int64)
    return (values // 10 * 10 + (values % 10 + 1) % 10).astype("U10")
