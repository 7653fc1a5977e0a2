"""`trace` and `quarantine` on the demo: a row of every table, a line of each outcome, and nothing that identifies."""

import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer
from pyspark.sql import SparkSession

from jobs import quarantine as quarantine_command
from jobs import trace as trace_command
from jobs.command import start
from jobs.demo import demo_settings
from pipelines.contracts.cdm import CdmColumn, CdmTable
from pipelines.contracts.derived import DERIVED_TABLES, published_tables
from pipelines.contracts.evidence import PRELIMINARY_DIAGNOSIS
from pipelines.contracts.zones import Zone
from pipelines.errors import NothingToTraceError, ReleaseError, RightsError
from pipelines.mapping.spec import Rule
from pipelines.release.published import chosen_release, release_folder
from pipelines.settings import storage_paths
from pipelines.storage.tables import TableStore
from pipelines.tracing.derivations import key_columns, origins_of
from pipelines.tracing.lake import Lake
from pipelines.tracing.lines import trace_line
from pipelines.tracing.origins import ROWS_WITH_ID
from pipelines.tracing.quarantined import is_reason, quarantined
from pipelines.tracing.reasons import Judged, judged_by
from pipelines.tracing.rows import trace_row
from pipelines.tracing.sections import Section
from tests.e2e.scanner import Haystack, Needles
from tests.e2e.test_runs import options
from tests.e2e.world import DemoWorld

TABLES = sorted(name for name, table in published_tables("5.4").items() if not table.is_vocabulary)
WITHOUT_RECORDS = {"cdm_source", "metadata"}
IN_THIS_PROCESS = ("--set", "engine.shared_network=a test that goes on after the command")
"""A command that takes a network of its own would leave the engines of later tests behind."""

NEVER_FILLED = {"cohort", "cohort_definition", "cost", "note", "note_nlp", "payer_plan_period"}
OUTCOMES = ("current", "superseded", "duplicate", "deleted_at_source", "quarantined", "opted_out", "test_patient")

Judge = Callable[[str, Sequence[Rule], str], Judged]


@pytest.fixture(scope="module")
def lake(world: DemoWorld) -> Lake:
    return Lake(world.settings, chosen_release(world.settings))


@pytest.fixture(scope="module")
def judge(lake: Lake, sail: SparkSession) -> Judge:
    store = TableStore(sail, storage_paths(lake.settings))
    return lambda source, rules, row_key: judged_by(store, lake.contracts[source], rules, row_key)


@pytest.fixture(scope="module")
def decided(world: DemoWorld, lake: Lake) -> dict[str, tuple[str, int]]:
    """A file and line of each outcome."""
    found: dict[str, tuple[str, int]] = {}
    for _, name in world.tables("curation"):
        if name.startswith("dispositions_"):
            for row in lake.rows(Zone.CURATION, name, {}, ("disposition", "_file", "_line")):
                found.setdefault(row["disposition"], (path(lake, row["_file"]), row["_line"]))
    return found


def path(lake: Lake, file_id: str) -> str:
    file = lake.register[file_id]
    return f"{file.source}/{file.provider}/{file.folder}/{file.file_name}"


def delivered_as(lake: Lake, source: str, row_key: str) -> dict[str, Any]:
    """File and line of the valid row of a record."""
    return lake.rows(Zone.CURATION, f"versions_{source}", {"row_key": row_key, "is_winner": True}, ("_file", "_line"))[0]


def steps(sections: Sequence[Section]) -> dict[str, list[dict[str, Any]]]:
    return {section.title: [dict(row) for row in section.rows] for section in sections}


def delivered_lines(lake: Lake, file: str) -> list[str]:
    """The text of a delivered file, line by line."""
    content = (lake.settings.storage.landing / file).read_bytes()
    if file.endswith(".gz"):
        content = gzip.decompress(content)
    elif file.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            content = packed.read(packed.namelist()[0])
    return content.decode("utf-8-sig", errors="replace").splitlines()


def an_id(lake: Lake, table: str, chance: random.Random) -> int | None:
    """The id of some row of a table; None where the table has no ids."""
    keys = key_columns(lake.tables[table])
    return chance.choice(lake.released(table, {}, keys))[keys[0]] if keys else None


def filled(lake: Lake) -> list[str]:
    return [pin.name for pin in lake.release.tables if pin.rows and pin.name in TABLES]


@pytest.mark.parametrize("table", [name for name in TABLES if name not in NEVER_FILLED | WITHOUT_RECORDS])
def test_a_row_of_every_table_comes_from_lines_that_were_delivered(table: str, lake: Lake) -> None:
    if table not in filled(lake):
        pytest.skip("the demo has no row of it")
    trace = steps(trace_row(lake, table, an_id(lake, table, random.Random(table)), 5))
    assert trace["made of"]
    for origin in trace["made of"]:
        assert origin["silver_table"].startswith("silver.")
        assert 1 < origin["line"] <= len(delivered_lines(lake, origin["file"]))
    if len(trace["made of"]) == 1 and "line" in trace:
        assert trace["rule"][0]["rule"] == trace["made of"][0]["rule"]
        assert trace["silver row"][0]["row_key"] == trace["made of"][0]["row_key"]
        assert trace["line"][0]["file"] == trace["made of"][0]["file"]
        assert trace["line"][0]["file"].startswith(trace["line"][0]["delivery"])


def test_the_demo_fills_nearly_every_table_of_the_cdm(lake: Lake) -> None:
    assert set(TABLES) - set(filled(lake)) - set(DERIVED_TABLES) == NEVER_FILLED | {"device_exposure"}


@pytest.mark.parametrize("table", sorted(WITHOUT_RECORDS))
def test_rows_that_are_made_from_settings_say_so(table: str, lake: Lake) -> None:
    trace = steps(trace_row(lake, table, an_id(lake, table, random.Random(1)), 5))
    assert trace["made of"] == [{"records": 0, "how": "settings and the vocabulary: no delivered row has part in it"}]


def test_a_derived_table_that_names_people_only_leads_to_their_records(lake: Lake) -> None:
    people = CdmTable("made_up", False, (CdmColumn("person_id", "bigint", nullable=False),), None)
    person_id = an_id(lake, "person", random.Random(7))
    records = lake.rows(Zone.INTERMEDIATE, "person_rows", {"person_id": person_id, "_set_aside": None}, ("_rule", "_row_key"))
    found = origins_of(lake, people, {"person_id": person_id}, 100)
    assert found.total == len(records) > 0
    assert [(origin.rule, origin.row_key) for origin in found.first] == [(row["_rule"], row["_row_key"]) for row in records]


def test_fifty_rows_each_come_from_the_line_that_holds_their_values(lake: Lake) -> None:
    """What silver has of the record is in the text of the line that the trace names."""
    chance = random.Random(50)
    tables = [name for name in ROWS_WITH_ID if name in filled(lake)]
    for _ in range(50):
        table = chance.choice(tables)
        trace = steps(trace_row(lake, table, an_id(lake, table, chance), 5))
        if "line" not in trace:
            assert len(trace["made of"]) > 1
            continue
        place = trace["line"][0]
        text = delivered_lines(lake, place["file"])[place["line"] - 1].lower()
        entity = place["bronze_table"].removeprefix("bronze.").removeprefix(f"{trace['rule'][0]['source']}_")
        columns = lake.contracts[trace["rule"][0]["source"]].entities[entity].columns
        kept = [row for row in trace["silver values"] if row["column"] in columns and columns[row["column"]].is_kept_text]
        assert kept, table
        assert all(str(row["value"]).lower() in text for row in kept), table


@pytest.mark.parametrize("table", [name for name in ROWS_WITH_ID if name not in NEVER_FILLED])
def test_the_line_of_a_row_leads_back_to_the_row(table: str, lake: Lake, judge: Judge) -> None:
    if table not in filled(lake):
        pytest.skip("the demo has no row of it")
    row_id = an_id(lake, table, random.Random(table))
    origin = steps(trace_row(lake, table, row_id, 1))["made of"][0]
    trace = steps(trace_line(lake, origin["file"], origin["line"], judge))
    assert trace["outcome"][0]["outcome"] == "current"
    assert (table, row_id, origin["rule"]) in [(row.get("omop_table"), row.get("id"), row["rule"]) for row in trace["rows"]]


THING = ("person_id", "condition_concept_id")


@pytest.mark.parametrize(
    ("table", "counted"),
    [("condition_era", "condition_occurrence_count"), ("drug_era", "drug_exposure_count"), ("dose_era", None)],
)
def test_eras_are_of_as_many_rows_as_they_count(table: str, counted: str | None, lake: Lake) -> None:
    rows = lake.released(table, {})
    chosen = random.Random(table).sample(rows, 12)
    if table == "condition_era":  # what is only suspected makes no era and is in none
        status = {"condition_status_concept_id": PRELIMINARY_DIAGNOSIS}
        suspected = {tuple(row.values()) for row in lake.released("condition_occurrence", status, THING)}
        beside = [row for row in rows if tuple(row[name] for name in THING) in suspected]
        assert beside
        chosen += beside
    for row in chosen:
        if counted:
            expected = row[counted]
        else:
            dose = {"dose_millionths": round(row["dose_value"] * 1_000_000), "start_date": row["dose_era_start_date"]}
            own = {"_kind": table, "person_id": row["person_id"], "concept_id": row["drug_concept_id"]}
            expected = lake.rows(Zone.INTERMEDIATE, "eras", own | dose)[0]["records"]
        assert origins_of(lake, lake.tables[table], row, 1).total == expected


def test_a_row_of_many_records_shows_the_first_and_counts_all(lake: Lake) -> None:
    spells = [row["key"] for row in lake.rows(Zone.INTERMEDIATE, "visit_rows", {"_rule": "acute_visit_spell"}, ("key",))]
    key = max(spells, key=spells.count)
    visit = lake.rows(Zone.INTERMEDIATE, "visits", {"key": key}, ("id",))[0]["id"]
    origins = next(s for s in trace_row(lake, "visit_occurrence", visit, 1) if s.title == "made of")
    assert spells.count(key) > 1
    assert (len(origins.rows), origins.more) == (1, spells.count(key) - 1)
    assert origins.how == f"{spells.count(key)}: its parts, which name the same spell"


def test_the_concept_map_names_the_local_map_that_gave_a_concept(lake: Lake) -> None:
    local = lake.released("measurement", {"_map_origin": "local"}, ("measurement_id",))[0]["measurement_id"]
    entry = steps(trace_row(lake, "measurement", local, 5))["concept map"][0]
    assert entry["map"].startswith("local ")
    assert entry["map"].endswith(".csv")
    athena = lake.released("condition_occurrence", {"_map_origin": "athena"}, ("condition_occurrence_id",))[0]
    assert (
        steps(trace_row(lake, "condition_occurrence", athena["condition_occurrence_id"], 5))["concept map"][0]["map"]
        == "athena"
    )


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_line_of_each_outcome(outcome: str, lake: Lake, decided: dict[str, tuple[str, int]], judge: Judge) -> None:
    trace = steps(trace_line(lake, *decided[outcome], judge))
    said = trace["outcome"][0]
    assert said["outcome"] == outcome
    assert said["meaning"]
    assert ("silver row" in trace) == (outcome == "current")
    if outcome != "quarantined":  # of a line that cannot be used another may count
        assert ("line_that_counts" in said) == (outcome in ("superseded", "duplicate"))
    assert bool(said.get("reason")) or outcome not in ("quarantined", "opted_out", "deleted_at_source")


def test_of_an_opt_out_a_release_from_before_is_named_with_what_it_still_has(
    world: DemoWorld, lake: Lake, judge: Judge
) -> None:
    """A line of everybody who opted out between the two nights: the first release has them, the second has not."""
    former = Lake(world.settings, chosen_release(world.settings, release_folder(world.settings).ids()[0]))
    there = {row["person_id"] for row in former.released("person", {}, ("person_id",))}
    wanted, columns = (
        {"disposition": "opted_out", "entity": "consultation"},
        ("_file", "_line", "person_id", "reason", "row_key"),
    )
    left = {row["person_id"]: row for row in lake.rows(Zone.CURATION, "dispositions_gp_1", wanted, columns)}
    gone = [row for person, row in left.items() if person in there]
    assert {row["reason"] for row in gone} > {"type_one"}
    for row in gone:
        place = path(lake, row["_file"]), row["_line"]
        visits = former.released("visit_occurrence", {"_row_key": row["row_key"]}, ("visit_occurrence_id",))
        expected = [("visit_occurrence", visit["visit_occurrence_id"]) for visit in visits]
        if row["reason"] != "type_one":
            expected.insert(0, ("person", row["person_id"]))
        trace = steps(trace_line(former, *place, judge))
        assert [(shown["omop_table"], shown["id"]) for shown in trace.get("still in the release", [])] == expected
        assert "still in the release" not in steps(trace_line(lake, *place, judge))


def test_these_are_all_outcomes(decided: dict[str, tuple[str, int]]) -> None:
    assert set(decided) == set(OUTCOMES)


def test_the_line_that_counts_is_another_version_of_the_record(
    lake: Lake, decided: dict[str, tuple[str, int]], judge: Judge
) -> None:
    counts = steps(trace_line(lake, *decided["superseded"], judge))["outcome"][0]["line_that_counts"]
    file, _, line = counts.rpartition(" line ")
    assert (file, int(line)) != decided["superseded"]
    assert steps(trace_line(lake, file, int(line), judge))["outcome"][0]["outcome"] not in ("superseded", "duplicate")


def test_a_record_that_no_rule_takes_has_the_reason_of_each_rule(lake: Lake, judge: Judge) -> None:
    """The reasons are among those that the run counted for the rule."""
    taken = {
        row["_row_key"]
        for name in lake.names(Zone.INTERMEDIATE)
        if (name.endswith("_rows") and name != "left_out_rows") or name == "stem_gp"
        for row in lake.rows(Zone.INTERMEDIATE, name, {"_entity": "observation"}, ("_row_key",))
    }
    keys = [row["row_key"] for row in lake.rows(Zone.SILVER, "gp_observation", {}, ("row_key",))]
    record = delivered_as(lake, "gp", next(key for key in keys if key not in taken))
    trace = steps(trace_line(lake, path(lake, record["_file"]), record["_line"], judge))
    rules = [rule.name for rule in lake.mappings["gp"].rules if rule.from_ == "observation"]
    assert [row["rule"] for row in trace["taken by no rule"]] == rules
    counted = {(row["rule"], row["reason"]) for row in lake.rows(Zone.INTERMEDIATE, "map_counts", {"entity": "observation"})}
    assert {(row["rule"], row["reason"]) for row in trace["taken by no rule"]} <= counted
    assert "rows" not in trace


def test_a_result_whose_specimen_another_result_names_too(lake: Lake, judge: Judge) -> None:
    kept = {row["_row_key"] for row in lake.rows(Zone.INTERMEDIATE, "stem_acute", {"_rule": "acute_specimen"}, ("_row_key",))}
    results = lake.rows(Zone.INTERMEDIATE, "stem_acute", {"_rule": "acute_pathology_result"}, ("_row_key",))
    other = next(row["_row_key"] for row in results if row["_row_key"] not in kept)
    record = delivered_as(lake, "acute", other)
    rows = steps(trace_line(lake, path(lake, record["_file"]), record["_line"], judge))["rows"]
    specimen = next(row for row in rows if row["rule"] == "acute_specimen")
    assert (specimen["omop_table"], specimen["note"]) == ("specimen", "deduplicated")
    assert lake.released("specimen", {"specimen_id": specimen["id"]}, ("_row_key",))[0]["_row_key"] in kept


def test_an_earlier_release_is_traced_at_its_versions(world: DemoWorld) -> None:
    first = release_folder(world.settings).ids()[0]
    lake = Lake(world.settings, chosen_release(world.settings, first))
    trace = steps(trace_row(lake, "measurement", an_id(lake, "measurement", random.Random(1)), 5))
    assert trace["row"][0]["release"] == first


def said(app: typer.Typer, world: DemoWorld, *arguments: str) -> list[dict[str, Any]]:
    with redirect_stdout(io.StringIO()) as output:
        start(app, ["--json", *options(world.settings), *IN_THIS_PROCESS, *arguments])
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_nothing_that_is_said_identifies_anybody(
    world: DemoWorld, lake: Lake, needles: Needles, decided: dict[str, tuple[str, int]], judge: Judge
) -> None:
    shown: list[object] = []
    shown += [steps(trace_row(lake, table, an_id(lake, table, random.Random(6)), 20)) for table in filled(lake)]
    shown += [steps(trace_line(lake, *place, judge)) for place in decided.values()]
    found = quarantined(lake.settings, 10_000)
    assert found.lines
    text = json.dumps([shown, found.by_reason, found.lines], default=str).encode()
    assert not needles.kinds_in(Haystack("", text, True))


def test_without_rights_the_rest_is_shown(world: DemoWorld, lake: Lake, judge: Judge, tmp_path: Path) -> None:
    row_id = an_id(lake, "measurement", random.Random(2))
    settings = demo_settings(world.folder, [f"storage.restricted={tmp_path / 'not_there'}"])
    stranger = Lake(settings, lake.release)
    trace = steps(trace_row(stranger, "measurement", row_id, 5))
    assert set(trace["line"][0]) == {"note"}
    assert "file" not in trace["made of"][0]
    assert trace["silver row"] == steps(trace_row(lake, "measurement", row_id, 5))["silver row"]
    with pytest.raises(RightsError, match="cannot be read by this account"):
        trace_line(stranger, "gp/Y99001/20260105/any.csv", 2, judge)
    with pytest.raises(RightsError):
        quarantined(settings, 1)


WRONG_ROWS = {
    ("measurment", 1): "did you mean measurement",
    ("measurement", 1): "no row of measurement has measurement_id 1",
    ("measurement", None): "name a row of measurement by its measurement_id",
    ("cdm_source", 1): "rows of cdm_source have no id",
}


@pytest.mark.parametrize(("table", "row_id"), WRONG_ROWS)
def test_what_is_not_there_is_refused_with_the_next_step(table: str, row_id: int | None, lake: Lake) -> None:
    with pytest.raises(NothingToTraceError, match=WRONG_ROWS[table, row_id]):
        trace_row(lake, table, row_id, 5)


def test_an_id_of_another_table_is_pointed_out(lake: Lake) -> None:
    row_id = an_id(lake, "measurement", random.Random(3))
    with pytest.raises(NothingToTraceError, match=f"nhs-omop trace measurement {row_id}"):
        trace_row(lake, "condition_occurrence", row_id, 5)


def test_files_and_lines_that_are_not_there(lake: Lake, decided: dict[str, tuple[str, int]], judge: Judge) -> None:
    file, _ = decided["current"]
    with pytest.raises(NothingToTraceError, match=r"no record begins in line 1; .* --line 2"):
        trace_line(lake, file, 1, judge)
    with pytest.raises(NothingToTraceError, match=rf"did you mean .*{re.escape(file)}"):
        trace_line(lake, f"{file}x", 2, judge)
    with pytest.raises(NothingToTraceError, match="deliveries lists"):
        trace_line(lake, "nothing", 2, judge)
    with pytest.raises(ReleaseError):
        Lake(lake.settings, chosen_release(lake.settings, "none"))


def test_a_file_may_be_named_by_its_end_or_its_place_in_landing(
    lake: Lake, decided: dict[str, tuple[str, int]], judge: Judge
) -> None:
    file, line = decided["quarantined"]
    whole = steps(trace_line(lake, file, line, judge))
    assert steps(trace_line(lake, file.partition("/")[2], line, judge)) == whole
    assert steps(trace_line(lake, str(lake.settings.storage.landing / file), line, judge)) == whole


def test_quarantined_lines_are_those_that_the_run_counted(lake: Lake) -> None:
    counted = sum(row["rows"] for row in lake.rows(Zone.LEDGER, "row_outcomes", {"disposition": "quarantined"}, ("rows",)))
    found = quarantined(lake.settings, 2)
    assert found.total == counted == sum(int(str(row["lines"])) for row in found.by_reason)
    assert len(found.lines) == 2
    assert [row["reason"] for row in found.by_reason if not is_reason(str(row["reason"]))] == []


def test_quarantined_lines_by_source_provider_and_reason(lake: Lake) -> None:
    orphans = quarantined(lake.settings, 100, source="gp", reason="orphan")
    assert {row["reason"] for row in orphans.lines} == {"orphan:patient"}
    assert quarantined(lake.settings, 100, source="gp", reason="orphan:patient").lines == orphans.lines
    provider = str(orphans.by_reason[0]["provider"])
    assert {row["provider"] for row in quarantined(lake.settings, 0, provider=provider).by_reason} == {provider}
    assert quarantined(lake.settings, 5, source="nowhere").total == 0


def test_the_commands_say_the_same_to_machines(world: DemoWorld, lake: Lake, decided: dict[str, tuple[str, int]]) -> None:
    row_id = an_id(lake, "measurement", random.Random(4))
    written = said(trace_command.app, world, "measurement", str(row_id))
    assert [row["table"] for row in written[:1]] == ["row"]
    assert {"rule", "silver row", "line"} <= {row["table"] for row in written}
    file, line = decided["opted_out"]
    written = said(trace_command.app, world, "--file", file, "--line", str(line))
    assert [row["table"] for row in written] == ["line", "outcome"]
    lines = said(quarantine_command.app, world, "--limit", "1")
    assert sum(row["table"] == "quarantined lines" for row in lines) == 1


WRONG_COMMANDS = {
    "nothing": [],
    "both": ["measurement", "1", "--file", "x", "--line", "2"],
    "no line": ["--file", "x"],
    "an id that no column can hold": ["measurement", str(2**63)],
    "no number": ["measurement", "x"],
}


@pytest.mark.parametrize("fault", WRONG_COMMANDS)
def test_wrong_command_lines_are_refused(fault: str, world: DemoWorld, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        start(trace_command.app, [*WRONG_COMMANDS[fault], *options(world.settings), *IN_THIS_PROCESS])
    assert ended.value.code == 2
