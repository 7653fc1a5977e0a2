"""Great Expectations writes Data Docs from stored gate results, and finds broken what the gates found broken."""

import os
import re
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from jobs import report
from pipelines.contracts.ledger import LEDGER_TABLE, Disposition, LedgerRow, Stage
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.gates import GATE_TABLE, GateResult, Measured, judge
from pipelines.release.report.data_docs import write_data_docs

ROW_COUNT = "expect_table_row_count_to_be_between(min_value=60000)"

RESULTS = judge(
    [
        Measured(Check(Zone.SILVER, "gp_patient", Rule.NO_IDENTIFIER), 9, 0),
        Measured(Check(Zone.OMOP, "person", Rule.REQUIRED, "person_id"), 54321, 0),
        Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), 54321, 6543),
        Measured(Check(Zone.OMOP, "death", Rule.REQUIRED, "person_id"), 54321, 6543),
        Measured(Check(Zone.OMOP, "visit_occurrence", Rule.PERIOD, "visit_start_date", "visit_end_date", 0.01), 200, 2),
        Measured(Check(Zone.OMOP, "death", Rule.REQUIRED, "death_date", severity=Severity.WARN), 54321, 6543),
        Measured(Check(Zone.RUN, "gp", Rule.MAPPED, tolerance=0.1), 54321, 6543),
        Measured(Check(Zone.OMOP, "person", Rule.EXPECTATION, f"people: {ROW_COUNT}"), 54321, 0),
        Measured(Check(Zone.OMOP, "death", Rule.EXPECTATION, f"people: {ROW_COUNT}"), 54321, 1),
    ]
).results


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    tried: list[Any] = []

    def refuse(_: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def test_the_site_is_written_and_every_suite_finds_what_the_gates_found(no_network: list[Any], tmp_path: Path) -> None:
    stored = [GateResult.of(result.record("20240105-00001")) for result in RESULTS]
    broken = write_data_docs("20240105-00001", stored, tmp_path / "docs")
    assert broken == {
        "silver": set(),
        "omop": {
            ("person", "person_id", "unique"),
            ("death", "person_id", "required"),
            ("death", "death_date", "required"),
        },
        "run": {("gp", "", "mapped_share")},
        "people": {("death", "", ROW_COUNT)},
    }
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert no_network == []
    pages = sorted(path.relative_to(tmp_path / "docs").as_posix() for path in (tmp_path / "docs").rglob("*.html"))
    assert pages[:4] == [f"expectations/{suite}.html" for suite in ("omop", "people", "run", "silver")]
    assert pages[4] == "index.html"
    found = [re.fullmatch(r"validations/(\w+)/20240105-00001/[^/]+/[^/]+\.html", page) for page in pages[5:]]
    assert [match and match[1] for match in found] == ["omop", "people", "run", "silver"]


def test_pages_name_the_broken_checks_and_show_no_number_of_rows(no_network: list[Any], tmp_path: Path) -> None:
    write_data_docs("r1", RESULTS, tmp_path)
    page = next((tmp_path / "validations" / "omop").rglob("*.html")).read_text(encoding="utf-8")
    assert "unique (error)" in page
    assert "required (warn)" in page
    assert "death_date" in page
    assert "54321" not in page
    assert "6543" not in page


def test_what_others_have_named_is_shown_and_not_run(no_network: list[Any], tmp_path: Path) -> None:
    """A provider, a column of a contract and an expectation of the team."""
    checks = [
        Check(Zone.RUN, "acute_result@RXN<img src=x onerror=alert(1)>", Rule.UNREADABLE, column="a<b>&c"),
        Check(Zone.RUN, "death", Rule.EXPECTATION, "people: expect_column_values_to_match_regex(regex='<i>\"')"),
    ]
    broken = write_data_docs("r1", judge([Measured(check, 100, 50) for check in checks]).results, tmp_path)
    assert broken == {
        "run": {("acute_result@RXN<img src=x onerror=alert(1)>", "a<b>&c", "unreadable_share")},
        "people": {("death", "", "expect_column_values_to_match_regex(regex='<i>\"')")},
    }
    pages = "".join(page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html"))
    assert "RXN&lt;img src=x onerror=alert(1)&gt;" in pages
    assert not re.search('<img src=x|a<b>|<i>"', pages)


def test_the_report_command_writes_the_site_of_a_run_that_came_to_the_gates(no_network: list[Any], tmp_path: Path) -> None:
    ledger = [LedgerRow(run, Stage.CURATE, "gp", "patient", Disposition.DELIVERED, 100) for run in ("r1", "r2")]
    stored = {LEDGER_TABLE: [row.record() for row in ledger], GATE_TABLE: [result.record("r1") for result in RESULTS]}
    for name, records in stored.items():
        write_deltalake(str(tmp_path / "restricted" / "ledger" / name), pa.Table.from_pylist(records))
    folders = [option for name in ("restricted", "deidentified") for option in ("--set", f"storage.{name}={tmp_path / name}")]
    options = ["--env", "test", *folders, "--data-docs", str(tmp_path / "docs")]
    refused = CliRunner().invoke(report.app, [*options, "--run", "r2"])
    assert refused.exit_code != 0
    assert "did not come to the gates" in str(refused.exception)
    assert not (tmp_path / "docs").exists()
    assert CliRunner().invoke(report.app, [*options, "--run", "r1"]).exit_code == 0
    assert (tmp_path / "docs" / "index.html").is_file()
    assert sorted(page.name for page in (tmp_path / "docs" / "expectations").iterdir()) == [
        "omop.html",
        "people.html",
        "run.html",
        "silver.html",
    ]
