"""Counts in one pass what breaks the expectations of a table, with the meaning that Great Expectations gives them.

Everything about single rows and whole columns is one aggregate; what must be unique is grouped besides. An expectation about
values has the rows that it looks at and those that break it; any other has the rows of the table, and 1 where it is broken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.frames import rows_of_group, union_all
from pipelines.quality.expectations.suites import Expectation
from vocab.schemas import ddl_of

COUNT_SCHEMA: Final = {"expectation": "string", "rows": "bigint", "violations": "bigint"}
"""Columns of stored counts: one row per expectation, which is named by its text."""

Kwargs = Mapping[str, Any]
Types = Mapping[str, str]


@dataclass(frozen=True)
class Counted:
    """Two aggregates: the rows that an expectation looks at, and how many of them break it."""

    rows: Column
    violations: Column


ByRow = Callable[[Kwargs, Types], Column]
"""Whether a row is as expected; null where that cannot be said, which counts as expected."""


def counts(table: DataFrame, expectations: Sequence[Expectation]) -> DataFrame:
    """One row per expectation, each of a type in COUNTED: how many rows it looks at, and how many break it.

    An expectation on a column that the table does not have is broken by a row that is not there.
    """
    types = {field.name: field.dataType.simpleString() for field in table.schema}
    usable = [expectation for expectation in expectations if set(expectation.columns) <= set(types)]
    lost = [(expectation.text, 0, 1) for expectation in expectations if expectation not in usable]
    together = [expectation for expectation in usable if expectation.type not in UNIQUE]
    frames = [table.sparkSession.createDataFrame(lost, ddl_of(COUNT_SCHEMA))] if lost else []
    if together:
        frames.append(_in_one_pass(table, together, types))
    frames += [_unique(table, expectation) for expectation in usable if expectation.type in UNIQUE]
    return union_all(frames)


def is_counted(expectation: Expectation) -> bool:
    """Whether this module counts an expectation; Great Expectations runs the others itself."""
    plain = not {"row_condition", "condition_parser", "windows"} & set(expectation.kwargs)
    return plain and (expectation.type in UNIQUE or expectation.type in COUNTED)


def _in_one_pass(table: DataFrame, expectations: Sequence[Expectation], types: Types) -> DataFrame:
    asked = [COUNTED[expectation.type](expectation.kwargs, types) for expectation in expectations]
    whole = table.agg(
        *[counted.rows.cast("bigint").alias(f"rows_{n}") for n, counted in enumerate(asked)],
        *[counted.violations.cast("bigint").alias(f"violations_{n}") for n, counted in enumerate(asked)],
    ).select(
        F.array(*[F.lit(expectation.text) for expectation in expectations]).alias("texts"),
        *[F.array(*[F.col(f"{name}_{n}") for n in range(len(asked))]).alias(name) for name in ("rows", "violations")],
    )
    by_place = whole.select("texts", F.col("rows").alias("all_rows"), F.posexplode("violations").alias("place", "violations"))
    place = F.col("place") + 1
    return by_place.select(
        F.element_at("texts", place).alias("expectation"), F.element_at("all_rows", place).alias("rows"), "violations"
    )


def _unique(table: DataFrame, expectation: Expectation) -> DataFrame:
    """The rows that share their values with another row. Values are compared by two hashes, in less memory than their text."""
    names = expectation.columns
    absent = [F.col(name).isNull() for name in names]
    ignored = {
        "never": F.lit(False),
        "all_values_are_missing": reduce(Column.__and__, absent),
        "any_value_is_missing": reduce(Column.__or__, absent),
    }[expectation.kwargs.get("ignore_row_if", "all_values_are_missing")]
    looked_at = table.where(~ignored)
    nulls = F.concat(*[F.when(is_null, F.lit("0")).otherwise(F.lit("1")) for is_null in absent])
    keys = looked_at.select(F.xxhash64(nulls, *names).alias("key"), F.xxhash64(*names, nulls).alias("key2"))
    groups = keys.groupBy("key", "key2").agg(rows_of_group().alias("n"))
    return groups.agg(
        _or_zero(F.sum("n")).alias("rows"), _or_zero(F.sum(F.when(F.col("n") > 1, F.col("n")))).alias("violations")
    ).select(F.lit(expectation.text).alias("expectation"), "rows", "violations")


def _or_zero(value: Column) -> Column:
    return F.coalesce(value, F.lit(0)).cast("bigint")


def _values(is_expected: ByRow) -> Callable[[Kwargs, Types], Counted]:
    """Of the values that are there, those that are not as expected."""

    def counted(kwargs: Kwargs, types: Types) -> Counted:
        value = F.col(kwargs["column"])
        return Counted(F.count(value), F.count(F.when(value.isNotNull() & ~is_expected(kwargs, types), F.lit(1))))

    return counted


def _rows(is_expected: ByRow) -> Callable[[Kwargs, Types], Counted]:
    """Of all rows, those that are not as expected."""

    def counted(kwargs: Kwargs, types: Types) -> Counted:
        return Counted(F.count(F.lit(1)), F.count(F.when(~is_expected(kwargs, types), F.lit(1))))

    return counted


def _pairs(is_expected: ByRow) -> Callable[[Kwargs, Types], Counted]:
    """Of the rows whose two values are not ignored, those that are not as expected."""

    def counted(kwargs: Kwargs, types: Types) -> Counted:
        first, second = F.col(kwargs["column_A"]), F.col(kwargs["column_B"])
        looked_at = {
            "neither": F.lit(True),
            "both_values_are_missing": first.isNotNull() | second.isNotNull(),
            "either_value_is_missing": first.isNotNull() & second.isNotNull(),
        }[kwargs.get("ignore_row_if", "both_values_are_missing")]
        unexpected = looked_at & ~is_expected(kwargs, types)
        return Counted(F.count(F.when(looked_at, F.lit(1))), F.count(F.when(unexpected, F.lit(1))))

    return counted


def _figure(
    of: Callable[[Kwargs], Column], kind: Callable[[Kwargs, Types], str] = lambda _, __: "double"
) -> Callable[[Kwargs, Types], Counted]:
    """Whether a figure of the table lies within bounds; one that there is not does not."""

    def counted(kwargs: Kwargs, types: Types) -> Counted:
        within = is_true(_between(of(kwargs), kwargs, kind(kwargs, types)))
        return Counted(F.count(F.lit(1)), F.when(within, F.lit(0)).otherwise(F.lit(1)))

    return counted


def _between(value: Column, kwargs: Kwargs, kind: str) -> Column:
    """Whether a value of a type lies between `min_value` and `max_value`; null where there is no value."""
    within = [value.isNotNull()]
    least, most = (_bound(kwargs.get(name), kind) for name in ("min_value", "max_value"))
    if least is not None:
        within.append(value > least if kwargs.get("strict_min") else value >= least)
    if most is not None:
        within.append(value < most if kwargs.get("strict_max") else value <= most)
    return F.when(value.isNotNull(), reduce(Column.__and__, within))


def _bound(value: Any, kind: str) -> Column | None:
    """A bound as a value of the type that it is compared with, where that is a day or a time."""
    if value is None:
        return None
    return F.lit(str(value)).cast(kind) if kind in ("date", "timestamp") else F.lit(value)


def _type_of_column(kwargs: Kwargs, types: Types) -> str:
    return types[kwargs["column"]]


def _column(kwargs: Kwargs) -> Column:
    return F.col(kwargs["column"])


def _in_set(kwargs: Kwargs, types: Types) -> Column:
    kind = types[kwargs["column"]]
    values = [_bound(value, kind) for value in kwargs["value_set"]]
    return F.col(kwargs["column"]).isin(*[value for value in values if value is not None])


def _is_between(kwargs: Kwargs, types: Types) -> Column:
    return _between(F.col(kwargs["column"]), kwargs, types[kwargs["column"]])


def _length(kwargs: Kwargs) -> Column:
    return F.char_length(F.col(kwargs["column"]).cast("string"))


def _matches(kwargs: Kwargs) -> Column:
    return F.col(kwargs["column"]).cast("string").rlike(kwargs["regex"])


def _is_greater(kwargs: Kwargs, _: Types) -> Column:
    first, second = F.col(kwargs["column_A"]), F.col(kwargs["column_B"])
    return (first >= second) | first.eqNullSafe(second) if kwargs.get("or_equal") else first > second


def _exactly(kwargs: Kwargs) -> Kwargs:
    return {"min_value": kwargs["value"], "max_value": kwargs["value"]}


def _share(part: Column) -> Column:
    """A part of the values that are there; 0 where there are none."""
    return F.coalesce(F.try_divide(part, F.count(F.lit(1))), F.lit(0.0))


UNIQUE: Final = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")

COUNTED: Final[Mapping[str, Callable[[Kwargs, Types], Counted]]] = {
    "expect_column_values_to_not_be_null": _rows(lambda kwargs, _: _column(kwargs).isNotNull()),
    "expect_column_values_to_be_null": _rows(lambda kwargs, _: _column(kwargs).isNull()),
    "expect_column_values_to_be_in_set": _values(_in_set),
    "expect_column_values_to_not_be_in_set": _values(lambda kwargs, types: ~_in_set(kwargs, types)),
    "expect_column_values_to_be_between": _values(_is_between),
    "expect_column_values_to_match_regex": _values(lambda kwargs, _: _matches(kwargs)),
    "expect_column_values_to_not_match_regex": _values(lambda kwargs, _: ~_matches(kwargs)),
    "expect_column_value_lengths_to_be_between": _values(lambda kwargs, _: _between(_length(kwargs), kwargs, "int")),
    "expect_column_value_lengths_to_equal": _values(lambda kwargs, _: _length(kwargs) == F.lit(kwargs["value"])),
    "expect_column_pair_values_a_to_be_greater_than_b": _pairs(_is_greater),
    "expect_column_pair_values_to_be_equal": _pairs(
        lambda kwargs, _: F.col(kwargs["column_A"]).eqNullSafe(F.col(kwargs["column_B"]))
    ),
    "expect_column_min_to_be_between": _figure(lambda kwargs: F.min(kwargs["column"]), _type_of_column),
    "expect_column_max_to_be_between": _figure(lambda kwargs: F.max(kwargs["column"]), _type_of_column),
    "expect_column_mean_to_be_between": _figure(lambda kwargs: F.avg(_column(kwargs).cast("double"))),
    "expect_column_median_to_be_between": _figure(lambda kwargs: F.median(_column(kwargs).cast("double"))),
    "expect_column_stdev_to_be_between": _figure(lambda kwargs: F.stddev_samp(_column(kwargs).cast("double"))),
    "expect_column_sum_to_be_between": _figure(lambda kwargs: F.sum(_column(kwargs).cast("double"))),
    "expect_column_unique_value_count_to_be_between": _figure(lambda kwargs: F.count_distinct(_column(kwargs))),
    "expect_column_proportion_of_non_null_values_to_be_between": _figure(lambda kwargs: _share(F.count(_column(kwargs)))),
    "expect_table_row_count_to_be_between": _figure(lambda _: F.count(F.lit(1))),
    "expect_table_row_count_to_equal": lambda kwargs, types: _figure(lambda _: F.count(F.lit(1)))(_exactly(kwargs), types),
}
"""How each type of expectation is counted, but for those in UNIQUE."""
