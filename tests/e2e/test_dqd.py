"""Generated people within the limits of DataQualityDashboard, but for what docs/conventions.md gives a reason for."""

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines.quality.dqd import DqdResult, dqd_checks
from tests.dqd_of_world import results_of
from tests.e2e.world import DemoWorld

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
REASON = re.compile(r"^\| `(\w+)` \| `([\w.]+)` \| (.+) \|$", re.MULTILINE)


def with_reason() -> set[str]:
    """The checks that the page has a reason for, by rule and field."""
    section = PAGE.read_text(encoding="utf-8").partition("## DataQualityDashboard\n")[2].partition("\n## ")[0]
    return {f"{rule} {place}" for rule, place, _ in REASON.findall(section)}


@pytest.fixture(scope="module")
def results(world: DemoWorld, sail: SparkSession) -> list[DqdResult]:
    """Every check that applies to the release."""
    return results_of(sail, world)


def test_what_is_beyond_a_limit_has_a_reason(results: list[DqdResult]) -> None:
    failed = {str(result.check): f"{result.violated} of {result.counted}" for result in results if not result.passed}
    without = {name: share for name, share in failed.items() if not any(name.startswith(known) for known in with_reason())}
    assert without == {}


def test_reasons_are_of_checks_that_there_are() -> None:
    names = [str(check) for check in dqd_checks()]
    assert with_reason()
    assert all(any(name.startswith(known) for name in names) for known in with_reason())


def test_most_checks_apply(results: list[DqdResult]) -> None:
    rules = {result.check.rule for result in results}
    assert rules == {check.rule for check in dqd_checks()}
    assert len(results) > 100
