"""Generated people within the limits of DataQualityDashboard, but for what docs/conventions.md gives a reason for."""

import re
from datetime import date
from pathlib import Path

import pytest

from pipelines.contracts.derived import published_tables
from pipelines.contracts.zones import Zone
from pipelines.quality.checks import DQD_NAMES, Rule
from pipelines.quality.dqd import dqd_checks
from pipelines.quality.gates import GATE_SCHEMA, GATE_TABLE, GateResult
from pipelines.storage.tables import StoragePaths
from tests.e2e.world import DemoWorld

DAY = date(2026, 1, 6)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
REASON = re.compile(r"^\| `(\w+)` \| `([\w.]+)` \| (.+) \|$", re.MULTILINE)


def with_reason() -> set[str]:
    """The checks that the page has a reason for, by rule and field."""
    section = PAGE.read_text(encoding="utf-8").partition("## DataQualityDashboard\n")[2].partition("\n## ")[0]
    return {f"{rule} {place}" for rule, place, _ in REASON.findall(section)}


def named(result: GateResult) -> str:
    """A result as the page names it: DataQualityDashboard's name of the rule, table and field."""
    return f"{result.check.dqd[0]} {result.check.table}" + (f".{result.check.column}" if result.check.column else "")


@pytest.fixture(scope="module")
def results(world: DemoWorld) -> list[GateResult]:
    """What the gates of every night said of OHDSI's checks."""
    paths = StoragePaths(world.folder / "restricted", world.folder / "deidentified")
    found = [GateResult.of(record) for record in paths.records(Zone.LEDGER, GATE_TABLE, tuple(GATE_SCHEMA))]
    return [result for result in found if result.check.dqd]


def test_what_is_beyond_a_limit_has_a_reason(results: list[GateResult]) -> None:
    failed = {named(result): f"{result.violations} of {result.rows}" for result in results if not result.passed}
    without = {name: share for name, share in failed.items() if not any(name.startswith(known) for known in with_reason())}
    assert without == {}


def test_reasons_are_of_checks_that_there_are() -> None:
    names = [
        f"{DQD_NAMES[check.rule][0]} {check.table}.{check.column}".removesuffix(".")
        for table in published_tables("5.4")
        for check in dqd_checks(table, DAY)
    ]
    assert with_reason()
    assert all(any(name.startswith(known) for name in names) for known in with_reason())


def test_every_kind_of_check_applies(results: list[GateResult]) -> None:
    """But for those on diagnoses and procedures of one gender, which few of the generated people have."""
    applied = {result.check.rule for result in results if result.rows}
    assert set(DQD_NAMES) - applied <= {Rule.GENDER, Rule.GENDER_BELOW}
    assert sum(bool(result.check.concepts) for result in results) > 10
