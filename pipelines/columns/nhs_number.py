"""NHS numbers: shape, check digit, placeholders, test range."""

from functools import reduce

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.contracts.number_spellings import DIGITS_SPELLED, LOST_ZERO, NO_PART_OF_NUMBER, SPELLED_OTHERWISE

LINKED_STATUSES = ("01", "02", "03", "06", "07", "08")
"""NHS NUMBER STATUS INDICATOR CODE of numbers that may be linked by.

Not 04 (no match or several when traced), 05 (needs resolving), or anything that is no such code.
"""

TEST_RANGE_PREFIX = "999"


def digits_of(value: Column) -> Column:
    """The number without blanks, dashes and marks, with the leading zero that a numeric column loses and no others before it.

    Spreadsheets put an apostrophe before it, decimals behind it, commas into it, or write it as a power of ten; people put
    points or strokes between its groups. With all its digits it is read.
    """
    bare = F.regexp_replace(value, NO_PART_OF_NUMBER, "")
    bare = F.regexp_replace(bare, SPELLED_OTHERWISE, DIGITS_SPELLED)
    return F.when(bare.rlike(LOST_ZERO), F.concat(F.lit("0"), bare)).otherwise(bare)


def is_valid(digits: Column) -> Column:
    """Whether ten digits pass Modulus 11 and are not a placeholder (a repeated digit, or `d00000000d`)."""
    weighted = [F.substring(digits, place + 1, 1).try_cast("int") * (10 - place) for place in range(9)]
    check = (11 - reduce(lambda left, right: left + right, weighted) % 11) % 11
    repeated = F.regexp_replace(digits, "^0+$|^1+$|^2+$|^3+$|^4+$|^5+$|^6+$|^7+$|^8+$|^9+$", "") == ""
    framed = (F.substring(digits, 2, 8) == "00000000") & (F.substring(digits, 1, 1) == F.substring(digits, 10, 1))
    passes = (check == F.substring(digits, 10, 1).try_cast("int")) & ~repeated & ~framed
    return F.when(digits.rlike("^[0-9]{10}$"), passes).otherwise(F.lit(False))


def is_in_test_range(digits: Column) -> Column:
    """Whether the number is in the range reserved for tests, which no person has."""
    return digits.startswith(TEST_RANGE_PREFIX)
