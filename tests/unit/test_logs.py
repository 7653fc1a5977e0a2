import contextlib
import fcntl
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
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


def test_what_a_terminal_would_do_is_not_sent_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In every cell, message and field: names are given by those who deliver."""
    name = "\x1b[31mRED\x07"
    with logging_to_stderr():
        logging.getLogger("jobs.run").warning("%s is late", name, extra={"folder": name})
        logging.getLogger("jobs.run").error("%s\nis set aside", name)
        show_table("files", [{"file": name, "records": 1}])
        show_facts("file", {"name": name})
    shown = capsys.readouterr()
    assert shown.err == "?[31mRED? is late  folder ?[31mRED?\n?[31mRED?\nis set aside\n"
    assert shown.out.count("?[31mRED?") == 2
    assert not {"\x1b", "\x07"} & {*shown.out}


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
    assert [json.loads(line) for line in machines.splitlines()] == [
        {"table": "tables", "name": "person", "rows": 1234, "released": True},
        {"table": "tables", "name": "[death]", "rows": None},
    ]


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
    show_table("a title longer than the table", [{"concept_id": 4152194, "pid": 12345, "rows": 1234}])
    counted = capsys.readouterr().out
    show_table("release", [{"year_of_birth": 1940}], as_stored=True)
    stored = capsys.readouterr().out
    assert "a title longer than the table" in counted
    assert "4152194" in counted
    assert "12345" in counted
    assert "1,234" in counted
    assert "year_of_birth" in stored
    assert "1940" in stored


def test_no_text_is_cut_where_the_result_goes_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = {f"column_{n}": f"20260105-{'x' * 40}-{n}" for n in range(5)} | {"reason": "lost " * 60 + "end"}
    show_table("deliveries", [long])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(value in lines[4] for value in long.values())
    assert {len(line) for line in lines[1:]} == {len(lines[4])}


NARROW = """
from jobs.output import show_facts, show_table
ids = {f"delivery_{n}": f"20260105-0000{n}-abcdef" for n in range(3)}
show_table("runs [all]", [{**ids, "reason": "lost on the way " * 4, "rows": 1234, "[x]": None}, {**ids, "rows": 5}])
show_facts("last run", {"release": "20260105-abcdef01", "message": "gates failed\\n  omop.person: 3 rows"})
"""


@pytest.mark.parametrize(("columns", "is_table"), [(30, False), (60, False), (110, True)])
def test_no_word_is_cut_on_a_terminal(columns: int, is_table: bool) -> None:
    """A table where its longest words fit, with texts in several lines; otherwise a line for each value."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    subprocess.run([sys.executable, "-c", NARROW], stdout=follower, env=variables, cwd=PROJECT, timeout=60, check=True)
    os.close(follower)
    written = b""
    with contextlib.suppress(OSError):  # at the end of what was written
        while True:
            written += os.read(leader, 65536)
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).replace("\r\n", "\n")
    runs, _, facts = text.partition("last run\n")
    assert runs.startswith("runs [all]\n")
    assert [runs.count(f"20260105-0000{n}-abcdef") for n in range(3)] == [2, 2, 2]
    assert runs.count("lost") == 4
    assert "1,234" in runs
    assert ("│" in runs, "│" in facts) == (is_table, columns > 30)
    assert "20260105-abcdef01" in facts
    assert "omop.person:" in facts
