import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.logs import PROJECT_LOGGERS, logging_to_stderr, use_json_lines
from jobs.output import show_facts, show_table
from pipelines.progress import Field

PROJECT = Path(__file__).resolve().parents[2]
ROWS: list[dict[str, Field]] = [{"table": "person", "rows": 1234, "released": True}, {"table": "[death]", "rows": None}]


def test_people_read_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr():
        logging.getLogger("pipelines.ingest").info("wrote [gp]", extra={"left_out": 1234})
        logging.getLogger("jobs.run").error("stopped", extra={"exit_code": 20})
    assert capsys.readouterr().err == "wrote [gp]  left out 1,234\nstopped\n"


def test_machines_read_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr():
        use_json_lines()
        logging.getLogger("vocab.load").warning("list is old", extra={"days": 20})
        logging.getLogger("jobs.run").error("stopped", extra={"exit_code": 20})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [("warning", "list is old"), ("error", "stopped")]
    assert (lines[0]["days"], lines[1]["exit_code"]) == (20, 20)


@pytest.mark.parametrize("json_lines", [False, True], ids=["people", "machines"])
def test_tracebacks_and_fields_that_are_no_names_or_counts_are_not_shown(
    json_lines: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to_stderr():
        if json_lines:
            use_json_lines()
        try:
            raise ValueError("cannot cast 'Zoe Smith'")
        except ValueError:
            logging.getLogger("pipelines").exception("stopped", extra={"row": {"surname": "Smith"}})
    shown = capsys.readouterr().err
    assert "stopped" in shown
    assert "Smith" not in shown


def test_other_packages_are_not_shown() -> None:
    """In a process of its own: pytest gives the root logger handlers, and without any Python prints warnings itself."""
    code = """
import logging
from jobs.logs import logging_to_stderr
with logging_to_stderr():
    for name in ("py4j.clientserver", "pyspark.sql", "great_expectations", "deltalake", ""):
        logging.getLogger(name).error("cannot cast 'Zoe Smith'")
    from pyspark.logger import PySparkLogger
    for name in ("DataFrameQueryContextLogger", "SQLQueryContextLogger"):
        PySparkLogger.getLogger(name).exception("cannot cast 'Zoe Smith'", errorClass="CAST_INVALID_INPUT")
    logging.getLogger("pipelines").info("ingested")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=60, check=True)
    assert done.stderr == "ingested\n"


def test_the_loggers_are_as_before_afterwards() -> None:
    before = [(logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in PROJECT_LOGGERS]
    with logging_to_stderr():
        use_json_lines()
    assert [(logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in PROJECT_LOGGERS] == before


def test_results_are_written_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr():
        show_table("tables", ROWS)
        people = capsys.readouterr().out
        use_json_lines()
        show_table("tables", ROWS)
        machines = capsys.readouterr().out
    assert "1,234" in people
    assert "[death]" in people
    assert [json.loads(line)["rows"] for line in machines.splitlines()] == [1234, None]


def test_facts_are_lines_for_people_and_one_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr():
        show_facts("run", {"rows_in": 1234, "release": "r1"})
        people = capsys.readouterr().out
        use_json_lines()
        show_facts("run", {"rows_in": 1234, "release": "r1"})
        machines = capsys.readouterr().out
    assert "rows in" in people
    assert json.loads(machines) == {"table": "run", "rows_in": 1234, "release": "r1"}


def test_ids_and_rows_of_a_query_are_shown_as_they_are_under_a_title_that_is_not_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table("a title longer than the table", [{"concept_id": 4152194, "rows": 1234}])
    counted = capsys.readouterr().out
    show_table("release", [{"year": 1940}], grouped=False)
    stored = capsys.readouterr().out
    assert "a title longer than the table" in counted
    assert "4152194" in counted
    assert "1,234" in counted
    assert "1940" in stored


def test_no_text_is_cut_where_the_result_goes_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = {f"column_{n}": f"20260105-{'x' * 40}-{n}" for n in range(5)} | {"reason": "lost " * 60 + "end"}
    show_table("deliveries", [long])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(value in lines[4] for value in long.values())
    assert {len(line) for line in lines[1:]} == {len(lines[4])}
