"""What is true of a row that breaks a rule on its own values."""

from collections.abc import Callable, Mapping
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.shapes import identifies
from pipelines.quality.checks import BIRTH, MAX_ID, Check, Rule


def is_said_without_concept(check: Check) -> Column:
    """Whether a row has the source value of an optional concept, and not the concept."""
    return F.col(check.column).isNull() & F.col(check.argument).isNotNull()


def _is_unmapped(check: Check) -> Column:
    unmapped = F.col(check.column) == 0
    return unmapped | is_said_without_concept(check) if check.argument else unmapped


def _compared(check: Check) -> tuple[Column, Column]:
    """The value and its limit: as moments where the limit is one, as days where it is a day, else as numbers."""
    kind = "timestamp" if ":" in check.argument else "date" if "-" in check.argument[1:] else "double"
    return F.col(check.column).cast(kind), F.lit(check.argument).cast(kind)


def _is_below(check: Check) -> Column:
    value, limit = _compared(check)
    return value < limit


def _is_above(check: Check) -> Column:
    value, limit = _compared(check)
    return value > limit


BROKEN: Final[Mapping[Rule, Callable[[Check], Column]]] = {
    Rule.REQUIRED: lambda check: F.col(check.column).isNull(),
    Rule.WITHHELD: lambda check: F.col(check.column).isNotNull(),
    Rule.LENGTH: lambda check: F.char_length(F.col(check.column)) > int(check.argument),
    Rule.ID_RANGE: lambda check: ~F.col(check.column).between(1, MAX_ID),
    Rule.POSTCODE_AREA: lambda check: ~F.col(check.column).rlike("^[A-Z]{1,2}$"),
    Rule.CONTENTS: lambda check: F.exists(F.array(*check.columns), identifies),
    Rule.PERIOD: lambda check: F.col(check.column) > F.col(check.argument),
    Rule.AFTER: lambda check: F.col(check.column) < F.col(check.argument),
    Rule.FUTURE: _is_above,
    Rule.LOW: _is_below,
    Rule.HIGH: _is_above,
    Rule.CONCEPT_GIVEN: _is_unmapped,
    Rule.SOURCE_CONCEPT_GIVEN: _is_unmapped,
}
"""By rule, the condition that a row breaks the check; null where there is nothing to judge."""


def is_of_row(check: Check) -> bool:
    """Whether single rows break the check by their own values, whatever concept they are of."""
    return check.rule in BROKEN and not check.concepts and not (check.rule is Rule.AFTER and check.argument == BIRTH)
