"""The HTML report of a release, opened in a browser: its figures are those of the lakehouse, counted again without its code."""

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from typer.testing import CliRunner

from jobs import report
from pipelines.errors import RightsError
from pipelines.release.model import Release
from pipelines.release.published import chosen_release, release_folder
from tests.e2e.scanner import Haystack, Needles
from tests.e2e.world import DemoWorld

CHROMIUM = Path("/usr/bin/chromium")
NARROW, WIDE = 390, 1440
EDITIONS = ("full", "suppressed")
Scheme = Literal["light", "dark"]


@dataclass(frozen=True)
class Written:
    """The pages of the last release in both editions."""

    folder: Path

    def path(self, edition: str) -> Path:
        return self.folder / f"{edition}.html"

    def text(self, edition: str) -> str:
        return self.path(edition).read_text(encoding="utf-8")


def options_of(world: DemoWorld) -> list[str]:
    places = [f"storage.{name}={world.folder / name}" for name in ("landing", "restricted", "deidentified")]
    return ["--env", "demo", *(option for place in places for option in ("--set", place))]


@pytest.fixture(scope="module")
def release(world: DemoWorld) -> Release:
    return chosen_release(world.settings)


@pytest.fixture(scope="module")
def written(world: DemoWorld, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Written:
    pages = Written(tmp_path_factory.mktemp("report"))
    for edition in EDITIONS:
        given = ["--release", release.release_id, "--edition", edition, "--html", str(pages.path(edition))]
        ran = CliRunner().invoke(report.app, [*options_of(world), *given])
        assert ran.exit_code == 0, ran.exception
    return pages


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of the machine; without it the tests are skipped, or fail where CI is set."""
    if not CHROMIUM.is_file():
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, so nobody has looked at the report")
        pytest.skip("needs Chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page in the browser, and what it said and asked for."""

    page: Page
    said: list[str]
    asked: list[str]

    def figure(self, name: str) -> str:
        """A figure of the top of the page."""
        return self.page.locator(f".figures dt:text-is('{name}') + dd").inner_text().splitlines()[0]

    def table(self, title: str) -> pd.DataFrame:
        """A table as it is on the page, folded or not; every cell as text."""
        cells = self.page.evaluate(
            "title => [...document.querySelectorAll('table')]"
            ".filter(t => document.getElementById(t.getAttribute('aria-labelledby')).textContent === title)"
            ".map(t => [...t.rows].map(r => [...r.cells].map(c => c.textContent.trim())))[0]",
            title,
        )
        return pd.DataFrame(cells[1:], columns=cells[0])


def opened_page(browser: Browser, path: Path, width: int, scheme: Scheme = "light") -> Opened:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = Opened(page, [], [])
    page.on("console", lambda message: opened.said.append(message.text))
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("request", lambda request: opened.asked.append(request.url))
    page.goto(path.as_uri())
    return opened


@pytest.fixture(scope="module")
def full(browser: Browser, written: Written) -> Opened:
    return opened_page(browser, written.path("full"), WIDE)


@pytest.fixture(scope="module")
def suppressed(browser: Browser, written: Written) -> Opened:
    return opened_page(browser, written.path("suppressed"), WIDE)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def numbers(texts: pd.Series) -> list[int]:
    return [number(text) for text in texts]


def test_the_figures_at_the_top_are_those_of_the_lakehouse(world: DemoWorld, release: Release, full: Opened) -> None:
    manifests = [
        json.loads(path.read_text())
        for path in (world.folder / "landing").glob("*/*/*/manifest.json")
        if "optouts" not in path.parts
    ]
    delivered = sum(file["rows"] for manifest in manifests for file in manifest["files"])
    gates = world.rows("ledger", "gates")
    judged = gates[gates["run_id"] == release.run_id]
    assert full.page.title().startswith(f"Release {release.release_id}")
    assert number(full.figure("People")) == len(world.rows("omop", "person"))
    assert number(full.figure("Rows delivered")) == delivered
    assert number(full.figure("Checks passed")) == judged["passed"].sum()
    assert full.figure("Newest extract") == "2026-01-06"


def test_people_are_counted_by_birth_and_sex(world: DemoWorld, full: Opened) -> None:
    people = world.rows("omop", "person", ["year_of_birth", "gender_concept_id"])
    shown = full.table("People").set_index("Born")
    first = people["year_of_birth"] // 5 * 5
    for concept_id, sex in ((8507, "Male"), (8532, "Female")):
        expected = first[people["gender_concept_id"] == concept_id].value_counts()
        found = {int(band[:4]): number(text) for band, text in shown[sex].items() if band != "Total" and text != "0"}
        assert found == expected.to_dict()
    assert number(shown.loc["Total", "Total"]) == len(people)


def test_rows_are_counted_by_month_and_source(world: DemoWorld, full: Opened) -> None:
    rows = world.rows("omop", "measurement", ["measurement_date", "_source"])
    month = pd.to_datetime(rows["measurement_date"]).dt.strftime("%Y-%m")
    shown = full.table("Measurement by month and source").set_index("Month")
    assert number(shown.loc["Total", "Total"]) == len(rows)
    assert number(shown.loc["before 2024-02", "Total"]) == (month < "2024-02").sum()
    for source, heading in (("gp", "GP"), ("acute", "Acute")):
        assert number(shown.loc["2025-11", heading]) == ((month == "2025-11") & (rows["_source"] == source)).sum()


def test_the_flow_ends_in_the_rows_of_the_tables(world: DemoWorld, full: Opened) -> None:
    shown = full.table("Rows written by mapping rules, by OMOP table").set_index("Table")["Rows"]
    for table in ("measurement", "visit_occurrence", "death"):
        assert number(shown[table]) == len(world.rows("omop", table))
    flow = full.table("Delivered rows by source and outcome")
    assert numbers(flow["Current"])[-1] == sum(len(world.rows(*place, ["row_key"])) for place in world.tables("silver"))
    labels = full.page.locator(".flow svg.wide text").all_text_contents()
    assert f"measurement {shown['measurement']}" in labels


def test_the_change_is_that_of_the_two_releases(world: DemoWorld, release: Release, full: Opened) -> None:
    folder = release_folder(world.settings)
    former = folder.read(folder.ids()[0])
    shown = full.table("Rows by table").set_index("Table")
    before, now = former.pin("omop", "measurement").rows, release.pin("omop", "measurement").rows
    assert list(shown.loc["measurement"])[:3] == [f"{before:,}", f"{now:,}", f"{now - before:+,}"]


def test_the_work_list_is_complete(world: DemoWorld, full: Opened) -> None:
    listed = world.rows("intermediate", "unmapped_codes").groupby(["source", "vocabulary", "code"])["rows"].sum()
    shown = full.table("Codes without a standard concept, those with most rows first")
    assert sorted(numbers(shown["Rows"])) == sorted(listed)
    assert set(shown["Code"]) == set(listed.index.get_level_values("code"))


def test_every_provider_has_its_newest_extract(release: Release, full: Opened) -> None:
    shown = full.table("Newest extract of each provider").set_index("Provider")["Newest extract"]
    assert shown.to_dict() == {extract.provider: extract.extract_date.isoformat() for extract in release.extracts}


def test_the_suppressed_edition_has_no_small_number_of_rows_or_people(suppressed: Opened) -> None:
    counted = suppressed.page.evaluate(
        "[...document.querySelectorAll('main table')].map(t => ["
        "document.getElementById(t.getAttribute('aria-labelledby')).textContent,"
        "[...t.tHead.rows[0].cells].map(c => c.textContent.trim()),"
        "[...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent.trim()))])"
    )
    not_of_people = {
        "Age days",
        "Deliveries",
        "Checks",
        "Failed",
        "Warnings",
        "Seconds",
        "Most memory GiB",
        "Value",
        "Provider",
    }
    small = {
        (title, header, text)
        for title, headers, rows in counted
        for row in rows
        for header, text in zip(headers, row, strict=True)
        if header not in not_of_people and re.fullmatch(r"[+-]?[1-7]", text)
    }
    assert len(counted) > 15
    assert small == set()
    assert "*hidden" in {text for _, _, rows in counted for row in rows for text in row}


def test_no_identifier_is_on_either_page(written: Written, needles: Needles) -> None:
    for edition in EDITIONS:
        assert needles.kinds_in(Haystack(edition, written.path(edition).read_bytes(), is_text=False)) == set()


def test_nothing_is_fetched_and_nothing_is_said(full: Opened, suppressed: Opened, written: Written) -> None:
    for opened, edition in ((full, "full"), (suppressed, "suppressed")):
        assert opened.said == []
        assert opened.asked == [written.path(edition).as_uri()]
        assert re.findall(r"(?:https?:|//)[\w.]+|<script|@import|url\(", written.text(edition)) == []
        assert len(written.text(edition)) < 1_000_000


def test_the_full_edition_is_marked_and_private(written: Written, full: Opened, suppressed: Opened) -> None:
    assert stat.S_IMODE(written.path("full").stat().st_mode) == 0o600
    assert stat.S_IMODE(written.path("suppressed").stat().st_mode) == 0o644
    assert full.page.locator("header .edition").inner_text().startswith("Full edition.")
    assert suppressed.page.locator("header .edition").inner_text().startswith("Suppressed edition.")


def test_the_full_edition_is_refused_below_the_deidentified_root(world: DemoWorld) -> None:
    target = world.folder / "deidentified" / "report.html"
    ran = CliRunner().invoke(report.app, [*options_of(world), "--edition", "full", "--html", str(target)])
    assert isinstance(ran.exception, RightsError)
    assert not target.exists()


@pytest.mark.parametrize(("width", "scheme"), [(NARROW, "light"), (WIDE, "light"), (NARROW, "dark")])
def test_no_barrier_is_found(browser: Browser, written: Written, width: int, scheme: Scheme) -> None:
    """Everything unfolded, so that folded tables are looked at too."""
    page = opened_page(browser, written.path("suppressed"), width, scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page).response["violations"]
    assert [(fault["id"], len(fault["nodes"])) for fault in found if fault["impact"] in ("serious", "critical")] == []
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(heading => +heading.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    page.close()


def test_the_keyboard_reaches_the_report_and_its_parts(browser: Browser, written: Written) -> None:
    page = opened_page(browser, written.path("suppressed"), NARROW).page
    focused = "[document.activeElement.tagName, document.activeElement.textContent.trim()]"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == ["A", "Skip to the report"]
    assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == ["A", "What arrived, and what did not"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#arrivals"
    page.close()
