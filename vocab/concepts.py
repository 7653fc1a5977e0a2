"""Conditions on rows of the CONCEPT table, and what may be the id of one."""

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

STANDARD = "S"
"""Value of `standard_concept` for concepts that codes map to; C is a classification, null any other concept."""

FIRST_LOCAL_CONCEPT = 2_000_000_000
"""From here on OMOP leaves concept ids to sites: those of this project are in vocab/local."""

_GREATEST_ID = 2**31 - 1
"""The CDM has its ids as INTEGER."""


def is_concept_id(text: str) -> bool:
    """Whether a text is a number that the id of a concept may be."""
    return re.fullmatch("[0-9]{1,10}", text) is not None and int(text) <= _GREATEST_ID


def is_valid_standard() -> Column:
    """Whether a row of CONCEPT is a standard concept that is still valid: the only kind that a code may map to.

    False or null where it is not, so use it in `where`, or coalesce it first.
    """
    return (F.col("standard_concept") == STANDARD) & F.col("invalid_reason").isNull()
