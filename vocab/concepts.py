"""Conditions on rows of the CONCEPT table."""

from pyspark.sql import Column
from pyspark.sql import functions as F

STANDARD = "S"
"""Value of `standard_concept` for concepts that codes map to; C is a classification, null any other concept."""


def is_valid_standard() -> Column:
    """Whether a row of CONCEPT is a standard concept that is still valid: the only kind that a code may map to.

    False or null where it is not, so use it in `where`, or coalesce it first.
    """
    return (F.col("standard_concept") == STANDARD) & F.col("invalid_reason").isNull()
