"""Every example of docs/analysts.md runs on a published release and gives what its text says it gives."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from jobs.report import release_of_run, rows_of_two_sources
from pipelines.contracts.derived import DERIVED_TABLES
from pipelines.release.published import chosen_release
from tests.e2e.world import DemoWorld

PAGE = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLED = {
    "r": re.compile(r"dbGetQuery\(\w+, \"(.*?)\"\)", re.DOTALL),
    "python": re.compile(r"cdm\.sql\(\"(?:\"\")?(.*?)\"(?:\"\")?\)", re.DOTALL),
}
"""How an example of another language asks a query."""


class Example(NamedTuple):
    """A fenced block of the page, under the last heading before it."""

    heading: str
    language: str
    text: str


def examples_of(page: str) -> list[Example]:
    headings = [(found.start(), found[1]) for found in re.finditer(r"^## (.*)$", page, re.MULTILINE)]
    return [
        Example(next(title for start, title in reversed(headings) if start < found.start()), found[1], found[2])
        for found in FENCED.finditer(page)
    ]


EXAMPLES = examples_of(PAGE.read_text(encoding="utf-8"))
QUERIES = [
    *(example for example in EXAMPLES if example.language == "sql"),
    *(
        example._replace(text=query)
        for example in EXAMPLES
        if example.language in CALLED
        for query in CALLED[example.language].findall(example.text)
    ),
]
WITHOUT_ROWS = {"Deaths"}
"""Headings whose queries look for what a small world need not have."""


def test_the_page_has_examples_in_all_three_languages_and_no_others() -> None:
    assert {example.language for example in EXAMPLES} == {"sql", "python", "r"}
    assert all(CALLED[example.language].findall(example.text) for example in EXAMPLES if example.language in CALLED)


def test_the_page_names_every_derived_table() -> None:
    named = set(re.findall(r"`([a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    assert set(DERIVED_TABLES) <= named


@pytest.mark.parametrize("query", QUERIES, ids=[f"{number} {query.heading}" for number, query in enumerate(QUERIES, start=1)])
def test_queries_give_rows(world: DemoWorld, query: Example) -> None:
    with duckdb.connect(str(world.duckdb), read_only=True) as cdm:
        rows = cdm.execute(query.text).fetchall()
    assert rows or query.heading in WITHOUT_ROWS


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.language == "python"], ids=lambda e: e.heading)
def test_python_runs(
    world: DemoWorld, example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world.duckdb.parent)
    exec(compile(example.text, PAGE.name, "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 1


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.language == "r"], ids=lambda e: e.heading)
def test_r_runs(world: DemoWorld, example: Example) -> None:
    packages = subprocess.run(["Rscript", "-e", "library(DBI); library(duckdb)"], capture_output=True, check=False)
    if packages.returncode:
        pytest.skip("R has no package duckdb")
    ran = subprocess.run(["Rscript", "-e", example.text], cwd=world.duckdb.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_one_row_per_fact_is_what_is_left_of_the_rows_of_two_recorders(world: DemoWorld) -> None:
    """The rows that `same_fact` leaves of a fact are those of one recorder, and every link is between rows of two."""
    with duckdb.connect(str(world.duckdb), read_only=True) as cdm:
        links = cdm.execute("SELECT event_id, other_event_id FROM same_fact WHERE event_table = 'measurement'").fetchall()
    rows = world.rows("omop", "measurement", ["measurement_id", "_source", "_recorder"]).itertuples(index=False)
    recorder = {event: by for event, *by in rows}
    assert links
    assert all(recorder[event] != recorder[other] for event, other in links)
    assert not {event for event, _ in links} & {other for _, other in links}


def test_the_report_counts_the_links_of_its_release(world: DemoWorld) -> None:
    run = chosen_release(world.settings).run_id
    section = rows_of_two_sources(world.settings, release_of_run(world.settings, run))
    assert section.rows[-1] == {**section.rows[-1], "table": "total", "total": len(world.rows("omop", "same_fact"))}
    assert rows_of_two_sources(world.settings, None).rows == []
