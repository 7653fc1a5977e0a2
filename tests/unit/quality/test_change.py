"""What is compared between two releases, with the numbers written out; every kind of change is seen to fail and to pass."""

from datetime import date
from typing import Any

import pytest

from pipelines.contracts.gate_policy import ChangeLimits
from pipelines.quality.change import Figures, age_checks, change_checks, people_check
from pipelines.quality.gates import judge
from pipelines.quality.written import sentence
from tests.builders.policies import limit, policy

LIMITS = ChangeLimits(least_rows=500, least_people=100, least_month_rows=100, least_values=200)


def figure(kind: str, rows: int, table: str = "", source: str = "", item: str = "", **also: Any) -> dict[str, Any]:
    return {
        "figure": kind,
        "table": table,
        "source": source,
        "item": item,
        "rows": rows,
        "part": None,
        "mean": None,
        "spread": 0.0,
    } | also


BEFORE = [
    figure("rows", 1000, "person"),
    figure("people", 1000, "person"),
    figure("people", 900, "condition_occurrence"),
    figure("month", 600, "condition_occurrence", "gp", "2025-10"),
    figure("month", 700, "condition_occurrence", "gp", "2025-11"),
    figure("month", 90, "condition_occurrence", "gp", "2025-12"),
    figure("month", 500, "condition_occurrence", "acute", "2025-11"),
    figure("mapped", 1400, "", "gp", "SNOMED", part=1330),
    figure("mapped", 499, "", "gp", "Read", part=499),
    figure("value", 400, "measurement", "", "3025315/9529", mean=80.0),
    figure("value", 199, "measurement", "", "3036277/8582", mean=170.0),
    figure("value", 400, "measurement", "", "3003396/8753", mean=0.1, spread=3.4),
    figure("stay", 300, "visit_occurrence", "", "9201", mean=4.0),
]


def changed(*others: dict[str, Any], without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The figures of before with some in place of those of the same name; `without` leaves out those of a source."""
    names = ("figure", "table", "source", "item")
    new = {tuple(row[name] for name in names): row for row in (*BEFORE, *others)}
    return [row for row in new.values() if not row["source"] or row["source"] not in without]


def failures(now: list[dict[str, Any]], *overrides: str, limits: ChangeLimits = LIMITS) -> list[str]:
    found = [people_check(Figures.of(now)), *change_checks(Figures.of(now), Figures.of(BEFORE), limits)]
    return [sentence(failure, full=True) for failure in judge(found, policy(*overrides)).failures]


def test_the_same_again_passes_every_check() -> None:
    checks = judge([*change_checks(Figures.of(BEFORE), Figures.of(BEFORE), LIMITS)], policy()).results
    assert failures(BEFORE) == []
    assert {str(result.check): result.rows for result in checks} == {
        "rows_lost on omop.condition_occurrence": 1890,
        "rows_lost on omop.person": 1000,
        "rows_lost on run.acute": 500,
        "rows_lost on run.gp": 1390,
        "people_lost on omop.condition_occurrence": 900,
        "people_lost on omop.person": 1000,
        "months_lost on run.acute.condition_occurrence": 1,
        "months_lost on run.gp.condition_occurrence": 2,
        "mapped_share_fell on run.gp.SNOMED": 1400,
        "mean_moved on omop.measurement.3003396/8753": 400,
        "mean_moved on omop.measurement.3025315/9529": 400,
        "mean_moved on omop.visit_occurrence.9201": 300,
    }


@pytest.mark.parametrize(
    ("now", "failed"),
    [
        pytest.param(
            changed(figure("month", 222, "condition_occurrence", "gp", "2025-10")),
            [
                "rows_lost on run.gp: 378 of 1390, 20.0% allowed (1390 before, 1012 now)",
                "months_lost on run.gp.condition_occurrence: 1 of 2 (2025-10: 600 before, 222 now)",
            ],
            id="a month collapsed, and with it a fifth of the source",
        ),
        pytest.param(
            changed(
                figure("month", 350, "condition_occurrence", "acute", "2025-11"),
                figure("month", 99, "condition_occurrence", "acute", "2025-12"),
            ),
            [],
            id="a tenth of a source lost",
        ),
        pytest.param(
            changed(without=("acute",)),
            [
                "rows_lost on omop.condition_occurrence: 500 of 1890, 20.0% allowed (1890 before, 1390 now)",
                "rows_lost on run.acute: 500 of 500, 20.0% allowed (500 before, 0 now)",
                "months_lost on run.acute.condition_occurrence: 1 of 1 (2025-11: 500 before, 0 now)",
            ],
            id="a source vanished",
        ),
        pytest.param(
            changed(figure("people", 809, "condition_occurrence")),
            ["people_lost on omop.condition_occurrence: 91 of 900, 10.0% allowed (900 before, 809 now)"],
            id="people of a table lost",
        ),
        pytest.param(changed(figure("people", 810, "condition_occurrence")), [], id="as many people lost as are allowed"),
        pytest.param(
            changed(figure("mapped", 1000, "", "gp", "SNOMED", part=899)),
            ["mapped_share_fell on run.gp.SNOMED: 51 of 1000, 5.0% allowed (95.0% before, 89.9% now)"],
            id="fewer codes mapped",
        ),
        pytest.param(changed(figure("mapped", 1000, "", "gp", "SNOMED", part=900)), [], id="five in a hundred fewer mapped"),
        pytest.param(
            changed(figure("value", 410, "measurement", "", "3025315/9529", mean=36.3)),
            ["mean_moved on omop.measurement.3025315/9529: 410 of 410 (mean 80 before, 36.3 now)"],
            id="kilograms became stones",
        ),
        pytest.param(
            changed(figure("value", 410, "measurement", "", "3025315/9529", mean=100.0)), [], id="a mean moved a quarter"
        ),
        pytest.param(
            changed(figure("value", 199, "measurement", "", "3036277/8582", mean=1.7)), [], id="too few values to say"
        ),
        pytest.param(
            changed(figure("value", 410, "measurement", "", "3003396/8753", mean=0.9, spread=3.0)), [], id="a mean around zero"
        ),
        pytest.param(
            changed(figure("value", 410, "measurement", "", "3003396/8753", mean=1.0, spread=3.0)),
            ["mean_moved on omop.measurement.3003396/8753: 410 of 410 (mean 0.1 before, 1 now)"],
            id="a mean around zero moved by more than a quarter of what values differ",
        ),
        pytest.param(
            changed(figure("stay", 300, "visit_occurrence", "", "9201", mean=5.1)),
            ["mean_moved on omop.visit_occurrence.9201: 300 of 300 (mean 4 before, 5.1 now)"],
            id="longer stays",
        ),
        pytest.param(
            changed(figure("month", 2, "condition_occurrence", "gp", "2025-12")), [], id="too few rows of a month to say"
        ),
    ],
)
def test_each_change_fails_its_check_with_what_was_counted(now: list[dict[str, Any]], failed: list[str]) -> None:
    assert failures(now) == failed


def test_nobody_at_all_fails_also_where_there_is_nothing_to_compare_with() -> None:
    for now in ([], [figure("rows", 0, "person")]):
        (failure,) = judge([people_check(Figures.of(now))], policy(limit("*", 1))).failures
        assert sentence(failure, full=True) == "people on omop.person: 1 of 1 (nobody is in the CDM)"
    assert judge([people_check(Figures.of(BEFORE))], policy()).failures == ()


def test_below_the_least_numbers_nothing_is_compared() -> None:
    limits = ChangeLimits(least_rows=5000, least_people=5000, least_month_rows=5000, least_values=5000)
    assert [*change_checks(Figures.of([]), Figures.of(BEFORE), limits)] == []


def test_a_limit_of_one_table_lets_a_real_change_pass() -> None:
    now = changed(figure("people", 300, "condition_occurrence"))
    assert failures(now, limit("people_lost on omop.condition_occurrence", 0.7)) == []


@pytest.mark.parametrize(
    ("age", "max_age_days", "failed"),
    [
        (62, {"*": 62}, []),
        (63, {"*": 62}, ["extract_age on run.gp@P1"]),
        (63, {"*": 62, "gp": 70}, []),
        (4, {"*": 62, "gp": 70, "gp/P1": 3}, ["extract_age on run.gp@P1"]),
        (4, {"gp/P2": 3}, []),
        (4000, {}, []),
    ],
)
def test_an_old_extract_is_a_warning_by_source_and_provider(age: int, max_age_days: dict[str, int], failed: list[str]) -> None:
    extracted = date.fromordinal(date(2026, 1, 5).toordinal() - age)
    limits = ChangeLimits(max_age_days=max_age_days)
    report = judge([*age_checks({("gp", "P1"): extracted}, date(2026, 1, 5), limits)], policy())
    assert [str(warning.check) for warning in report.warnings] == failed
    assert report.failures == ()
    severe = policy("gates.limits=[{check: extract_age, provider: P1, severity: error}]")
    assert [str(f.check) for f in judge([result.measured for result in report.results], severe).failures] == failed
