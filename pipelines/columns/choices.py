"""Choices between values that an engine plans once.

Sail 0.7.2 rewrites `coalesce` as a CASE that names each value twice, and then looks for what stands there twice: a choice of
conditional values is planned, and computed, several times. So such a choice is one CASE.
"""

from collections.abc import Callable, Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F


def first_true(cases: Iterable[tuple[Column, Column]], otherwise: Column | None = None) -> Column:
    """The value of the first case whose condition is true; `otherwise` (null if not given) where none is."""
    chosen: Column | None = None
    for condition, value in cases:
        chosen = F.when(condition, value) if chosen is None else chosen.when(condition, value)
    if chosen is None:
        return F.lit(None) if otherwise is None else otherwise
    return chosen if otherwise is None else chosen.otherwise(otherwise)


def is_true(condition: Column) -> Column:
    """Whether a condition is true; false where it is null."""
    return condition.eqNullSafe(F.lit(True))


def once(value: Column, of: Callable[[Column], Column]) -> Column:
    """What `of` makes of a value that it names several times, for engines that plan a value as often as it is named."""
    return F.get(F.transform(F.array(value), of), F.lit(0))
