"""The HTML report: what it says of a run, what it hides, and where the parts of its pictures lie."""

from datetime import UTC, date, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from jobs import report
from pipelines.contracts.ledger import LEDGER_TABLE, Disposition, LedgerRow, Stage
from pipelines.ingest.history import DeliveryFacts, DeliveryState
from pipelines.ingest.landing import DeliveryName
from pipelines.measuring.stage_timer import StepTime
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.figures import Figure
from pipelines.quality.gates import Measured, judge
from pipelines.quality.suppression import HIDDEN, rounded
from pipelines.release.model import Code, Extract, Gates, Release, TablePin
from pipelines.release.published import release_folder
from pipelines.release.report.checks import broken_checks
from pipelines.release.report.contents import Material, OpenCode, flow_figure, page_of
from pipelines.release.report.counting import ReleaseCounts, months_until
from pipelines.release.report.page import Folded, Page, columns_of, heading, html, shown
from pipelines.release.report.pictures import NARROW, WIDE, Flow, Link, Node, Shape, flow_picture, month_chart
from pipelines.release.report.sections import Cell, Edition, Section
from pipelines.run_log import Failure, RunRecord, RunState
from tests.builders.runs import settings_in

RUN_DATE = date(2026, 1, 6)
HOSTILE = "<script>document.title = 'taken over'</script>"

PASSED, FAILED, WARNED = judge(
    [
        Measured(Check(Zone.OMOP, "person", Rule.REQUIRED, "person_id"), 500, 0),
        Measured(Check(Zone.OMOP, "person", Rule.UNIQUE, "person_id"), 500, 3),
        Measured(Check(Zone.OMOP, "death", Rule.REQUIRED, "death_date", severity=Severity.WARN), 20, 2),
    ]
).results


def release(run: str, day: date, **rows: int) -> Release:
    return Release(
        release_id=f"{day:%Y%m%d}-0123abcd",
        run_id=run,
        run_date=day,
        cdm_version="5.4",
        vocabulary_version="demo",
        code=Code(version="0.1.0"),
        configuration="c" * 64,
        key_id="k1",
        extracts=(Extract(source="gp", provider="P81001", extract_date=day),),
        opt_outs={"national": date(2025, 12, 20)},
        input_fingerprint="0123abcd" * 8,
        gates=Gates(checks=2, failed=0, warnings=1),
        tables=tuple(TablePin(zone="omop", name=name, version=1, rows=number) for name, number in rows.items()),
    )


NOW = release("r2", RUN_DATE, person=503, death=20, measurement=900)
BEFORE = release("r1", date(2026, 1, 5), person=500, death=20, measurement=800)

RECORD = RunRecord(
    run_id="r2",
    run_date=RUN_DATE,
    version="0.1.0",
    process=1,
    started=datetime(2026, 1, 6, 1, tzinfo=UTC),
    ended=datetime(2026, 1, 6, 1, 0, 42, tzinfo=UTC),
    stages=(StepTime("ingest", 10, 2.04, 0.5), StepTime("map", 10, 30.0, 0.7)),
    end=RunState.RELEASED,
)


def ended(end: RunState, **facts: object) -> RunRecord:
    return RECORD.model_copy(update={"end": end, **facts})


def delivered(source: str, **outcomes: int) -> list[LedgerRow]:
    rows = {"delivered": sum(outcomes.values()), **outcomes}
    return [LedgerRow("r2", Stage.CURATE, source, "e", Disposition(name), number) for name, number in rows.items()]


LEDGER = [
    *delivered("gp", current=900, superseded=90),
    LedgerRow("r2", Stage.MAP, "gp", "e", Disposition.WRITTEN, 900, rule="r", reason="measurement"),
    LedgerRow("r2", Stage.MAP, "gp", "e", Disposition.WRITTEN, 3, rule="r", reason="device_exposure"),
]


def delivery(state: str, folder: str, day: str, **more: Cell) -> dict[str, Cell]:
    facts: dict[str, Cell] = {
        "source": "gp",
        "provider": "P81001",
        "folder": folder,
        "state": state,
        "rows": 990,
        "extract_date": day,
    }
    return {**facts, "mode": "full", "since": day, "reason": "", "next_step": "", **more}


def material(**changes: object) -> Material:
    facts: dict[str, object] = {
        "run": "r2",
        "edition": Edition.SUPPRESSED,
        "record": RECORD,
        "release": NOW,
        "former": BEFORE,
        "former_ledger": LEDGER,
        "ledger": LEDGER,
        "gates": [PASSED, WARNED],
        "sections": [broken_checks([PASSED, WARNED], Edition.SUPPRESSED)],
        "deliveries": [delivery("loaded", "20260106", "2026-01-06")],
        "counts": ReleaseCounts({"1950-1954": {"female": 300, "male": 203}}, {}),
        "open_codes": [],
        "run_date": RUN_DATE,
        "written_on": date(2026, 1, 7),
        "warn_lists_at_days": 14,
    }
    return Material(**(facts | changes))  # type: ignore[arg-type]


def table(page: Page, title: str) -> list[dict[str, Cell]]:
    blocks = [block for part in page.parts for block in part.blocks]
    sections = [section for block in blocks for section in (block.sections if isinstance(block, Folded) else (block,))]
    return next([dict(row) for row in s.rows] for s in sections if isinstance(s, Section) and s.title == title)


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_code_that_is_html_stays_a_text() -> None:
    codes = [OpenCode("gp", '"><img src=x onerror=alert(1)>', HOSTILE, HOSTILE, True, 20)]
    page = html(page_of(material(open_codes=codes, deliveries=[delivery("loaded", HOSTILE, "2026-01-06", provider=HOSTILE)])))
    found = Elements(page).found
    assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in found}
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    assert page.count("&lt;script&gt;") >= 3


def test_the_page_asks_for_nothing_and_its_links_lead_somewhere() -> None:
    found = Elements(html(page_of(material()))).found
    targets = {attributes["id"] for _, attributes in found if "id" in attributes}
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    links = {attributes["href"] for tag, attributes in found if "href" in attributes}
    assert len(ids) == len(targets)
    assert {link for link in links if link != "data:,"} <= {f"#{target}" for target in targets}
    assert not [attributes for _, attributes in found if "src" in attributes]
    assert [attributes["scope"] for tag, attributes in found if tag == "th" and "scope" not in attributes] == []


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"gates": [PASSED]}, "good", "Released. 1 of 1 checks passed."),
        ({}, "warn", "Released. 1 of 2 checks passed; 1 warned."),
        (
            {"gates": [PASSED, FAILED, WARNED], "release": None, "counts": None},
            "bad",
            "Not released: 1 check failed. The release before stays.",
        ),
        (
            {"gates": [], "record": ended(RunState.STOPPED), "release": None, "counts": None},
            "bad",
            "Not released: the run did not come to its end. The release before stays.",
        ),
        (
            {"gates": [], "record": ended(RunState.UNCHANGED, release_id="20260105-0123abcd"), "release": None, "counts": None},
            "good",
            "Nothing had changed: release 20260105-0123abcd stays.",
        ),
        (
            {"gates": [], "record": ended(RunState.MADE, selected=("silver",)), "release": None, "counts": None},
            "warn",
            "Not released: the run was to make silver only. The release before stays.",
        ),
        (
            {"record": ended(RunState.RELEASED, release_id="20260106-0123abcd"), "release": None, "counts": None},
            "warn",
            "Released as 20260106-0123abcd, which has been removed since.",
        ),
    ],
)
def test_the_verdict_is_what_became_of_the_run(changes: dict[str, object], level: str, said: str) -> None:
    page = page_of(material(**changes))
    assert (page.verdict.level, page.verdict.text) == (level, said)
    assert said in html(page)
    assert ("The run ended before its release" in html(page)) == ("did not come to its end" in said)


def test_the_release_of_a_run_is_that_which_it_made_or_made_current_again(tmp_path: Path) -> None:
    """After the end of a rollback a run finds its release made already."""
    settings = settings_in(tmp_path)
    folder = release_folder(settings)
    for made in (BEFORE, NOW):
        folder.write(made)
    runs = {
        "20260106-00003": ended(RunState.RELEASED, release_id=NOW.release_id),
        "20260106-00004": ended(RunState.UNCHANGED, release_id=NOW.release_id),
        "20260106-00005": ended(RunState.FAILED),
        "20260106-00006": ended(RunState.RELEASED, release_id="20260106-removed"),
    }
    for run, record in runs.items():
        record.model_copy(update={"run_id": run}).write(tmp_path / "restricted" / "runs" / f"{run}.json")
    found = {run: report.release_of_run(settings, run) for run in ("r1", "r2", "lost", *runs)}
    assert {run: release.release_id if release else None for run, release in found.items()} == {
        "r1": BEFORE.release_id,
        "r2": NOW.release_id,
        "lost": None,
        "20260106-00003": NOW.release_id,
        "20260106-00004": None,
        "20260106-00005": None,
        "20260106-00006": None,
    }


@pytest.mark.parametrize(("edition", "people", "is_quoted"), [("suppressed", "\\*", False), ("full", "3", True)])
def test_a_report_in_markdown_hides_what_the_page_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edition: str, people: str, is_quoted: bool
) -> None:
    release_folder(settings_in(tmp_path)).write(release("r1", RUN_DATE, person=3))
    place, reason = DeliveryName("gp", "P81001", "20260107"), "patient: no record, the last full extract had 3"
    left_out = DeliveryFacts(place, DeliveryState.SET_ASIDE, day=RUN_DATE, reason=reason, next_step="ask")
    monkeypatch.setattr(report, "history_of", lambda *_: [left_out])
    rows = pa.Table.from_pylist([row.record() | {"run_id": "r1"} for row in LEDGER])
    write_deltalake(str(tmp_path / "restricted" / "ledger" / LEDGER_TABLE), rows)
    folders = [option for name in ("restricted", "deidentified") for option in ("--set", f"storage.{name}={tmp_path / name}")]
    out = tmp_path / "report.md"
    ran = CliRunner().invoke(report.app, ["--env", "test", *folders, "--edition", edition, "--out", str(out)])
    assert ran.exit_code == 0, ran.exception
    text = out.read_text(encoding="utf-8")
    assert f"- people: {people}\n" in text
    assert "| gp | P81001 | 20260107 | set aside | 2026-01-06 |" in text
    assert (reason in text) == (reason in ran.output) == is_quoted


def test_what_needs_somebody_is_listed_the_worst_first() -> None:
    waiting = delivery("set aside", "20260107", "2026-01-07", provider="P81002", reason="3 rows of 40", next_step="ask")
    page = page_of(
        material(
            deliveries=[delivery("loaded", "20260106", "2026-01-06"), waiting],
            open_codes=[OpenCode("gp", "v", "c", "", False, 1)],
        )
    )
    assert [(notice.level, notice.text) for notice in page.notices] == [
        ("bad", "1 delivery set aside"),
        ("warn", "The national opt-out list was 17 days old"),
        ("warn", "1 check warned"),
        ("warn", "Nothing of 1 provider is loaded"),
        ("warn", "1 code without a standard concept"),
    ]


def test_reasons_of_deliveries_and_rows_of_providers_are_in_the_full_edition_only() -> None:
    waiting = delivery(
        "set aside", "20260107", "2026-01-07", reason="3 rows of 40 cannot be read", next_step="ask the provider"
    )
    given = [delivery("loaded", "20260106", "2026-01-06"), waiting]
    full, hidden = (page_of(material(edition=edition, deliveries=given)) for edition in (Edition.FULL, Edition.SUPPRESSED))
    assert table(full, "Deliveries that are not loaded")[0]["reason"] == "3 rows of 40 cannot be read"
    assert table(full, "Newest extract of each provider")[0]["rows"] == 990
    assert "cannot be read" not in html(hidden)
    assert "rows" not in table(hidden, "Newest extract of each provider")[0]


def test_a_delivery_of_a_later_run_is_not_of_this_one() -> None:
    given = [delivery("loaded", "20260105", "2026-01-05"), delivery("loaded", "20260107", "2026-01-07")]
    (row,) = table(page_of(material(deliveries=given)), "Newest extract of each provider")
    assert row["newest_extract"] == "2026-01-05"
    assert row["age_days"] == 1
    assert row["since_the_release_before"] == "nothing new"


def test_a_small_change_is_hidden_with_the_number_before() -> None:
    now = release("r2", RUN_DATE, person=500, death=20, measurement=900, specimen=12)
    before = release("r1", date(2026, 1, 5), person=500, death=20, measurement=800, specimen=15)
    rows = {row["table"]: row for row in table(page_of(material(release=now, former=before)), "Rows by table")}
    assert rows["specimen"] == {"table": "specimen", "before": "*", "now": 12, "change": "*", "change_in_%": "*"}
    assert rows["death"] == {"table": "death", "before": 20, "now": 20, "change": "0", "change_in_%": ""}
    assert rows["measurement"] == {"table": "measurement", "before": 800, "now": 900, "change": "+100", "change_in_%": "+12.5%"}


@pytest.mark.parametrize(
    ("people", "now", "shown"),
    [(499, 788, ["*", 788, "*"]), (507, 900, ["*", 900, "*"]), (508, 900, [800, 900, "+100"]), (499, 800, [800, 800, "0"])],
)
def test_changes_that_may_be_of_few_people_are_hidden(people: int, now: int, shown: list[Cell]) -> None:
    """One of 500 people has opted out and takes 12 rows along, 7 have come with 100; with 8, and without rows, all is shown."""
    given = release("r2", RUN_DATE, person=people, measurement=now)
    former = release("r1", date(2026, 1, 5), person=500, measurement=800)
    rows = {row["table"]: row for row in table(page_of(material(release=given, former=former)), "Rows by table")}
    assert [rows["measurement"][name] for name in ("before", "now", "change")] == shown


def test_the_full_edition_has_every_change() -> None:
    full = {row["table"]: row for row in table(page_of(material(edition=Edition.FULL)), "Rows by table")}
    assert full["person"]["change"] == "+3"


def test_what_is_hidden_of_an_event_table_is_hidden_of_the_table_that_counts_them_all() -> None:
    """The evidence is 72 more, 9 and 43 and 16 of them of the tables that are shown: observation is 4 more."""
    before = {"condition_occurrence": 100, "drug_exposure": 200, "measurement": 300, "observation": 400, "event_evidence": 1000}
    now = {"condition_occurrence": 109, "drug_exposure": 243, "measurement": 316, "observation": 404, "event_evidence": 1072}

    def shown(before: dict[str, int], now: dict[str, int]) -> dict[str, list[Cell]]:
        releases = {"release": release("r2", RUN_DATE, person=9, **now)}
        former = {"former": release("r1", date(2026, 1, 5), person=9, **before)}
        rows = table(page_of(material(**releases, **former)), "Rows by table")
        return {str(row["table"]): [row["before"], row["now"], row["change"]] for row in rows}

    rows = shown(before, now)
    assert rows["measurement"] == [300, 316, "+16"]
    assert rows["observation"] == ["*", 404, "*"]
    assert rows["event_evidence"] == ["*", 1072, "*"]
    assert shown(before | {"observation": 0, "event_evidence": 600}, now | {"observation": 4, "event_evidence": 672})[
        "event_evidence"
    ] == ["*", "*", "*"]
    same = shown(before, now | {"observation": 420, "event_evidence": 1088})
    assert same["event_evidence"] == [1000, 1088, "+88"]


def test_rare_codes_do_not_follow_from_the_number_of_coded_rows() -> None:
    """The ledger says that 27 rows have an unknown code of the source: 25 and a rare one with 2."""
    codes = [
        OpenCode("gp", "Local", "most", "", False, 40),
        OpenCode("gp", "Local", "more", "", False, 25),
        OpenCode("gp", "Local", "rare", "", False, 2),
        OpenCode("gp", "SNOMED", "known", "", True, 30),
        OpenCode("acute", "Local", "alone", "", False, 27),
    ]
    rows = table(page_of(material(open_codes=codes)), "Codes without a standard concept, those with most rows first")
    assert [(row["code"], row["rows"]) for row in rows] == [("most", 40), ("more", "*"), ("known", 30), ("alone", 27)]


def test_codes_do_not_give_away_how_many_coded_rows_have_none() -> None:
    """Of 55 coded rows 40 are standard; 12 are hidden because they would tell of the 3 that are left."""
    numbers = {Disposition.CODED: 55, Disposition.STANDARD: 40, Disposition.UNKNOWN: 12, Disposition.KNOWN_UNMAPPED: 3}
    ledger = [LedgerRow("r", Stage.CODE, "gp", "entry", outcome, rows, rule="gp_entry") for outcome, rows in numbers.items()]
    codes = [OpenCode("gp", "Local", "alone", "", False, 12), OpenCode("gp", "SNOMED", "rare", "", True, 3)]
    title = "Codes without a standard concept, those with most rows first"
    assert [row["rows"] for row in table(page_of(material(ledger=ledger, open_codes=codes)), title)] == ["*"]


def test_rows_by_table_are_in_tens_because_what_each_entity_became_adds_up_to_them() -> None:
    written = {"observation": 114, "death": 3, "measurement": 2876}
    flow = [LedgerRow("r", Stage.CURATE, "gp", "entry", Disposition.CURRENT, 3000)]
    ledger = [LedgerRow("r", Stage.MAP, "gp", "entry", Disposition.WRITTEN, n, reason=name) for name, n in written.items()]
    title = "Rows written by mapping rules, by OMOP table"
    found = {
        edition: [(row["table"], row["rows"]) for row in table(page_of(material(ledger=flow + ledger, edition=edition)), title)]
        for edition in Edition
    }
    assert found[Edition.SUPPRESSED] == [("measurement", 2880), ("observation", 110), ("death", "*")]
    assert found[Edition.FULL] == [("measurement", 2876), ("observation", 114), ("death", 3)]


def test_codes_of_few_rows_are_counted_and_not_named() -> None:
    codes = [OpenCode("gp", "Local", "frequent", "", False, 8), OpenCode("gp", "Local", "rare", "", False, 7)]
    hidden, full = (
        html(page_of(material(edition=edition, open_codes=codes))) for edition in (Edition.SUPPRESSED, Edition.FULL)
    )
    assert "frequent" in hidden
    assert ">rare<" not in hidden
    assert "1 code with fewer than 8 rows" in hidden
    assert ">rare<" in full


def test_failed_checks_come_first_and_their_rows_are_in_the_full_edition_only() -> None:
    hidden = broken_checks([PASSED, WARNED, FAILED], Edition.SUPPRESSED)
    assert [(row["outcome"], row["table"]) for row in hidden.rows] == [("failed", "omop.person"), ("warned", "omop.death")]
    assert "broken_rows" not in hidden.rows[0]
    full = broken_checks([PASSED, WARNED, FAILED], Edition.FULL)
    assert (full.rows[0]["broken_rows"], full.rows[0]["of_rows"], full.rows[0]["allowed"]) == (3, 500, "0.0%")
    assert broken_checks([PASSED], Edition.FULL).empty == "Every check passed."


def test_a_run_that_failed_says_what_to_do() -> None:
    failure = Failure(error="DeliveryError", exit_code=12, message="m", next_step="do what the message says")
    record = RECORD.model_copy(update={"end": RunState.FAILED, "failure": failure})
    page = page_of(material(release=None, former=None, counts=None, gates=[], record=record))
    facts = {row["what"]: row["value"] for row in table(page, "Facts of the run")}
    assert (facts["Exit code"], facts["Next step"]) == (12, "do what the message says")
    assert table(page, "Time by stage")[1] == {"stage": "map", "seconds": 30.0, "most_memory_gib": 0.7}


def test_the_picture_of_rows_tells_what_no_rule_took_where_the_ledger_counts_it() -> None:
    total: Figure = {"source": "total", "delivered": 990, "current": 900, **dict.fromkeys(map(str, Disposition), 0)}
    figures: list[Figure] = [
        {**total, "source": "gp", "delivered": 990, "current": 900},
        {**total, "delivered": 990, "current": 900},
    ]
    without, with_taken = (flow_figure(figures, taken, {"measurement": 850}) for taken in ({}, {"mapped": 800, "untaken": 100}))
    assert [text for _, text in without.pictures[0].headings] == ["Delivered", "Outcome", "OMOP tables"]
    assert [text for _, text in with_taken.pictures[0].headings] == ["Delivered", "Outcome", "Mapping", "OMOP tables"]
    labels = {bar.node.label: bar.node.rows for bar in with_taken.pictures[0].bars}
    assert labels == {"GP": 990, "In use": 900, "Mapped": 800, "Taken by no rule": 100, "measurement": 850}


@pytest.mark.parametrize(("number", "shown_there"), [(0, 0), (7, "*"), (8, 10), (114, 110), (2876, 2880)])
def test_sums_of_numbers_that_may_be_hidden_are_in_tens(number: int, shown_there: int | str) -> None:
    assert rounded(number, Edition.SUPPRESSED.smallest_shown) == shown_there
    assert rounded(number, Edition.FULL.smallest_shown) == number


def test_bands_fill_the_bars_that_they_join() -> None:
    """The upper edges of the two bands that meet in C, 350 rows high, at its left: one begins where the other ends."""
    picture = flow_picture(FLOW, WIDE)
    end = {bar.node.name: bar for bar in picture.bars}["c"]
    uppers = [float(band.path.split("L")[0].split()[-1]) for band in picture.bands[:2]]
    lowers = [float(band.path.split("L")[1].split("C")[0].split()[1]) for band in picture.bands[:2]]
    assert uppers == pytest.approx([end.y, end.y + end.height * 300 / 350], abs=0.1)
    assert lowers == pytest.approx([uppers[1], end.y + end.height], abs=0.1)


FLOW = Flow(
    ("from", "to"),
    ((Node("a", "A", 300, "x"), Node("b", "B", 100, "x")), (Node("c", "C", 350, "x"), Node("d", "D", HIDDEN, "x"))),
    (Link("a", "c", 300), Link("b", "c", 50), Link("b", "d", HIDDEN)),
)


def test_bars_have_the_heights_of_their_numbers_and_hidden_ones_say_nothing() -> None:
    picture = flow_picture(FLOW, WIDE)
    heights = {bar.node.name: bar.height for bar in picture.bars}
    assert heights["a"] == pytest.approx(3 * heights["b"])
    assert heights["a"] + heights["b"] == pytest.approx(WIDE.tall)
    assert [band.is_hidden for band in picture.bands] == [False, False, True]
    other = flow_picture(Flow(FLOW.headings, FLOW.columns, (*FLOW.links[:2], Link("b", "d", HIDDEN))), WIDE)
    assert other.bands[2] == picture.bands[2]


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_bars_and_labels_of_a_column_do_not_overlap(shape: Shape) -> None:
    nodes = tuple(Node(str(number), str(number), number, "x") for number in (5000, 3, 2, 1, 0))
    picture = flow_picture(Flow(("all",), (nodes,), ()), shape)
    ends = [(min(bar.y, bar.label - 12), max(bar.y + bar.height, bar.label)) for bar in picture.bars]
    assert all(first[1] <= second[0] for first, second in pairwise(ends))
    assert max(end for _, end in ends) <= picture.height


def test_a_part_of_a_flow_has_what_goes_on_only() -> None:
    part = Flow(
        ("s", "t", "u"),
        ((Node("s", "S", 1, "x"),), (Node("t", "T", 1, "x"), Node("end", "E", 1, "x")), (Node("u", "U", 1, "x"),)),
        (Link("s", "t", 1), Link("s", "end", 1), Link("t", "u", 1)),
    ).part(1)
    assert [[node.name for node in column] for column in part.columns] == [["t"], ["u"]]
    assert part.links == (Link("t", "u", 1),)


def test_a_chart_stacks_the_sources_and_marks_hidden_months() -> None:
    months = ("2025-12", "2026-01")
    chart = month_chart("death", {"2025-12": {"a": 30, "b": 10}, "2026-01": {"a": 20, "b": HIDDEN}}, months, ("a", "b"))
    assert chart.top == 40
    assert [(column.source, round(column.height)) for column in chart.columns] == [(0, 63), (1, 21), (0, 42)]
    assert chart.columns[1].y == 0
    assert len(chart.hidden) == 1
    assert chart.ends == months


def test_months_end_with_that_of_the_run() -> None:
    months = months_until(date(2026, 1, 31))
    assert (months[0], months[-1], len(months)) == ("2024-02", "2026-01", 24)


def test_names_are_written_as_people_write_them() -> None:
    assert (heading("gp"), heading("mental_health"), heading("most_memory_gib")) == ("GP", "Mental health", "Most memory GiB")
    assert (shown(12345), shown(None), shown(True), shown("type_one", "reason")) == ("12,345", "", "yes", "type one")
    assert shown("visit_occurrence", "table") == "visit_occurrence"
    assert shown("\x1b[31mRED\x07") == "?[31mRED?"


def test_columns_of_one_table_share_the_scale_of_their_bars() -> None:
    rows: list[dict[str, Cell]] = [
        {"born": "a", "female": 10, "male": 40, "note": ""},
        {"born": "total", "female": 100, "male": 400, "note": ""},
    ]
    columns = columns_of(Section("People", rows, bars=("female", "male")))
    assert [(column.name, column.full) for column in columns] == [("born", None), ("female", 40.0), ("male", 40.0)]
