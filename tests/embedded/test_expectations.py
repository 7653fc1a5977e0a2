"""What is counted for expectations is what Great Expectations itself finds on the same rows."""

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError
from pipelines.quality.expectations.by_library import counts_by_library
from pipelines.quality.expectations.counting import COUNTED, UNIQUE, counts, is_counted
from pipelines.quality.expectations.suites import Expectation, library
from pipelines.quality.gates import Measured, judge

SCHEMA = "a bigint, b bigint, text string, day date"
PERSON = TableName(Zone.OMOP, "person")

ROWS = [
    (1, 2, "ab", date(2020, 1, 1)),
    (2, 2, "ab", date(2021, 1, 1)),
    (3, None, "c", None),
    (None, 5, None, date(2022, 6, 30)),
    (None, None, "c1", None),
    (3, 1, "d", date(2023, 12, 31)),
]


def expectation(kind: str, **kwargs: Any) -> Expectation:
    return Expectation("suite", "suite.yaml", 1, PERSON, f"expect_{kind}", kwargs)


def found(table: DataFrame, *asked: Expectation) -> dict[str, tuple[int, int]]:
    rows = counts(table, asked).collect()
    assert len(rows) == len(asked)
    return {row["expectation"]: (row["rows"], row["violations"]) for row in rows}


CASES = [
    # expectation, rows looked at, rows that break it
    (expectation("column_values_to_not_be_null", column="a"), 6, 2),
    (expectation("column_values_to_be_null", column="a"), 6, 4),
    (expectation("column_values_to_be_in_set", column="text", value_set=["ab", "c"]), 5, 2),
    (expectation("column_values_to_be_in_set", column="day", value_set=["2020-01-01", date(2021, 1, 1)]), 4, 2),
    (expectation("column_values_to_not_be_in_set", column="a", value_set=[3]), 4, 2),
    (expectation("column_values_to_be_between", column="a", min_value=2.0), 4, 1),
    (
        expectation("column_values_to_be_between", column="a", min_value=1.0, max_value=3.0, strict_min=True, strict_max=True),
        4,
        3,
    ),
    (expectation("column_values_to_be_between", column="day", min_value=date(2021, 1, 1), max_value=date(2022, 12, 31)), 4, 2),
    (expectation("column_values_to_match_regex", column="text", regex="^[a-z]+$"), 5, 1),
    (expectation("column_values_to_not_match_regex", column="text", regex="^a"), 5, 2),
    (expectation("column_value_lengths_to_be_between", column="text", min_value=2), 5, 2),
    (expectation("column_value_lengths_to_equal", column="text", value=1), 5, 3),
    (expectation("column_values_to_be_unique", column="a"), 4, 2),
    (expectation("compound_columns_to_be_unique", column_list=["a", "b"]), 5, 0),
    (expectation("compound_columns_to_be_unique", column_list=["text", "b"]), 6, 2),
    (expectation("compound_columns_to_be_unique", column_list=["text", "b"], ignore_row_if="any_value_is_missing"), 3, 2),
    (expectation("compound_columns_to_be_unique", column_list=["a", "b"], ignore_row_if="never"), 6, 0),
    (expectation("column_pair_values_a_to_be_greater_than_b", column_A="b", column_B="a"), 5, 2),
    (expectation("column_pair_values_a_to_be_greater_than_b", column_A="b", column_B="a", or_equal=True), 5, 1),
    (
        expectation(
            "column_pair_values_a_to_be_greater_than_b", column_A="b", column_B="a", ignore_row_if="either_value_is_missing"
        ),
        3,
        2,
    ),
    (expectation("column_pair_values_to_be_equal", column_A="a", column_B="b"), 5, 4),
    (expectation("column_pair_values_to_be_equal", column_A="a", column_B="b", ignore_row_if="neither"), 6, 4),
    (expectation("column_min_to_be_between", column="a", min_value=1.0), 6, 0),
    (expectation("column_max_to_be_between", column="a", max_value=3.0, strict_max=True), 6, 1),
    (expectation("column_max_to_be_between", column="day", max_value=date(2023, 12, 30)), 6, 1),
    (expectation("column_mean_to_be_between", column="a", min_value=2.25, max_value=2.25), 6, 0),
    (expectation("column_median_to_be_between", column="a", min_value=2.5, max_value=2.5), 6, 0),
    (expectation("column_stdev_to_be_between", column="a", min_value=0.95, max_value=0.96), 6, 0),
    (expectation("column_sum_to_be_between", column="a", min_value=10.0), 6, 1),
    (expectation("column_unique_value_count_to_be_between", column="a", min_value=3, max_value=3), 6, 0),
    (expectation("column_proportion_of_non_null_values_to_be_between", column="a", min_value=0.7), 6, 1),
    (expectation("table_row_count_to_be_between", min_value=7), 6, 1),
    (expectation("table_row_count_to_equal", value=6), 6, 0),
]


@pytest.fixture(scope="module")
def table(sail: SparkSession) -> DataFrame:
    return sail.createDataFrame(ROWS, SCHEMA)


def test_every_counted_expectation_has_a_case() -> None:
    assert {case.type for case, _, _ in CASES} == {*COUNTED, *UNIQUE}
    assert all(is_counted(case) for case, _, _ in CASES)


def test_rows_and_violations_of_every_expectation(table: DataFrame) -> None:
    asked = [case for case, _, _ in CASES]
    assert found(table, *asked) == {case.text: (rows, violations) for case, rows, violations in CASES}


def test_values_in_another_column_are_another_key(sail: SparkSession) -> None:
    table = sail.createDataFrame([(2, None, None, None), (None, 2, None, None), (2, 2, None, None)], SCHEMA)
    asked = expectation("compound_columns_to_be_unique", column_list=["a", "b"])
    assert found(table, asked) == {asked.text: (3, 0)}


def test_a_column_that_is_not_there_breaks_what_is_expected_of_it(table: DataFrame) -> None:
    lost = expectation("column_values_to_not_be_null", column="gone", mostly=0.5)
    there = expectation("column_values_to_be_null", column="a")
    assert found(table, lost, there) == {lost.text: (0, 1), there.text: (6, 4)}
    assert [result.passed for result in judge([Measured(lost.check, 0, 1)]).results] == [False]


class Library:
    """Great Expectations on the frames of the engine, without anything of ours."""

    def __init__(self, table: DataFrame) -> None:
        context = library().get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_spark("s", persist=False).add_dataframe_asset("t")
        self.batch = asset.add_batch_definition_whole_dataframe("w").get_batch({"dataframe": table})

    def says(self, asked: Expectation) -> tuple[bool, int | None]:
        """Whether the expectation holds, and the number of unexpected rows where it counts them."""
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        configured = ExpectationConfiguration(type=asked.type, kwargs=dict(asked.kwargs)).to_domain_obj()
        outcome = self.batch.validate(configured)
        assert outcome.result, f"{asked.text}: {outcome.exception_info}"
        return bool(outcome.success), outcome.result.get("unexpected_count")


def compare(table: DataFrame, mostly: float) -> None:
    """Sail has no approximate quantiles, of which the library makes its median."""
    asked = [with_mostly(case, mostly) for case, _, _ in CASES if "median" not in case.type]
    counted, theirs = found(table, *asked), Library(table)
    for case in asked:
        rows, violations = counted[case.text]
        success, unexpected = theirs.says(case)
        assert judge([Measured(case.check, rows, violations)]).results[0].passed is success, case.text
        assert unexpected in (None, violations), case.text


ABOUT_FIGURES = ("min", "max", "mean", "stdev", "sum", "unique_value_count", "proportion", "row_count")


def with_mostly(case: Expectation, mostly: float) -> Expectation:
    """The case; of one about values only a share has to be as expected."""
    is_about_figure = any(f"_{figure}_" in case.type for figure in ABOUT_FIGURES)
    kwargs = case.kwargs if is_about_figure else {**case.kwargs, "mostly": mostly}
    return expectation(case.type.removeprefix("expect_"), **kwargs)


@pytest.mark.parametrize("rows", [ROWS, [], [(None, None, None, None)] * 2], ids=["mixed", "empty", "nulls"])
def test_the_library_says_the_same_on_the_frames_of_the_engine(sail: SparkSession, rows: list[tuple[Any, ...]]) -> None:
    compare(sail.createDataFrame(rows, SCHEMA), mostly=0.6)


VALUES = st.tuples(
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 4),
    st.none() | st.sampled_from(["ab", "c", "c1", ""]),
    st.none() | st.dates(date(2019, 1, 1), date(2024, 1, 1)),
)


@seed(10)
@settings(max_examples=2, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(VALUES, min_size=5, max_size=40), mostly=st.sampled_from([0.25, 0.5, 0.8, 0.9, 1.0]))
def test_the_library_says_the_same_on_any_rows(sail: SparkSession, rows: list[tuple[Any, ...]], mostly: float) -> None:
    compare(sail.createDataFrame(rows, SCHEMA), mostly)


QUERY = "SELECT * FROM {batch} WHERE a > b"


def test_the_library_itself_runs_what_is_not_counted(table: DataFrame) -> None:
    listed = expectation("column_values_to_match_regex_list", column="text", regex_list=["^a", "^d"], mostly=0.5)
    conditional = expectation(
        "column_values_to_not_be_null", column="a", row_condition="b = 2", condition_parser="spark", mostly=0.9
    )
    distinct = expectation("column_distinct_values_to_be_in_set", column="a", value_set=[1, 2])
    rows = expectation("column_values_to_not_be_null", column="gone")
    exists = expectation("column_to_exist", column="gone")
    query = Expectation("s", "f", 1, PERSON, "unexpected_rows_expectation", {"unexpected_rows_query": QUERY})
    asked = [listed, conditional, distinct, rows, exists, query]
    assert not any(is_counted(case) for case in asked if case is not rows)
    assert list(counts_by_library(table, asked)) == [
        (listed.text, 5, 2),
        (conditional.text, 2, 0),
        (distinct.text, 1, 1),
        (rows.text, 0, 1),
        (exists.text, 1, 1),
        (query.text, 1, 1),
    ]


def test_what_the_library_cannot_compute_here_is_an_error_that_names_it_and_no_value(table: DataFrame) -> None:
    quantiles = {"quantiles": [0.5], "value_ranges": [[0, 9]]}
    asked = expectation("column_quantile_values_to_be_between", column="a", quantile_ranges=quantiles)
    with pytest.raises(ConfigError) as refused:
        list(counts_by_library(table, [asked]))
    assert str(refused.value) == (
        "suite.yaml: expectation 1 (expect_column_quantile_values_to_be_between): "
        "Great Expectations cannot compute it on omop.person with this engine; "
        "docs/expectations.md lists what every engine computes"
    )
