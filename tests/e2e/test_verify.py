"""Verify: a lakehouse that runs have made equals its rebuild, and whatever was changed by hand is found, and where."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from jobs import verify as command
from jobs.logs import logging_to_stderr
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import DifferenceError, NotCurrentError, RunUnderWayError
from pipelines.nightly import nightly
from pipelines.progress import OnProgress, ignore_progress
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.verifying import DELIVERED, OF_RUNS, ONLY_ALL, Compared, Difference, Sample, Verification, verify
from tests.conftest import PROJECT
from tests.e2e.test_rerun import LOGS, state_of
from tests.e2e.test_vocabulary_change import MAP, change
from tests.e2e.world import LAST_NIGHT, DemoWorld

HALF = Sample(0.5)


@pytest.fixture
def copy(world: DemoWorld, tmp_path: Path) -> DemoWorld:
    """A copy of the lakehouse after its last night, to be changed."""
    return world.copied_to(tmp_path / "demo")


Changed = tuple[DemoWorld, dict[str, tuple[Difference, ...]]]


@pytest.fixture(scope="module")
def changed(world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    """A lakehouse with rows changed by hand, and what verify has to say of each table.

    The visit is of somebody in the other half of the people, the care site of nobody, all others of somebody in the half.
    """
    copy = world.copied_to(tmp_path_factory.mktemp("changed") / "demo")

    observation = first_of(copy, "silver", "gp_observation")
    update(copy, "silver", "gp_observation", "provider_code = 'changed'", f"row_key = '{observation['row_key']}'")

    event = first_of(copy, "intermediate", "stem_acute")
    of_rule = f"_row_key = '{event['_row_key']}' AND _rule = '{event['_rule']}'"
    removed = delta(copy, "intermediate", "stem_acute").delete(of_rule)["num_deleted_rows"]

    condition = first_of(copy, "omop", "condition_occurrence")
    store_again(copy, "omop", "condition_occurrence", "condition_occurrence_id", condition["condition_occurrence_id"])

    link = first_of(copy, "curation", "link")
    of_person = f"person_id = {link['person_id']} AND _source = '{link['_source']}'"
    linked = update(copy, "curation", "link", "method = 'changed'", of_person)

    visit = first_of(copy, "omop", "visit_occurrence", inside=False)
    update(copy, "omop", "visit_occurrence", "visit_concept_id = 0", f"visit_occurrence_id = {visit['visit_occurrence_id']}")

    site = copy.rows("omop", "care_site").sort_values("care_site_id").iloc[0]
    update(copy, "omop", "care_site", "care_site_name = 'changed'", f"care_site_id = {site['care_site_id']}")

    return copy, {
        "silver.gp_observation": (Difference("", "", "", 1, 1),),
        "intermediate.stem_acute": (Difference("acute", event["_entity"], event["_rule"], 0, removed),),
        "omop.condition_occurrence": (Difference(*rule_of(condition), 1, 0),),
        "curation.link": (Difference(link["_source"], "", "", linked, linked),),
        "omop.visit_occurrence": (Difference(*rule_of(visit), 1, 1),),
        "omop.care_site": (Difference(*rule_of(site), 1, 1),),
    }


def is_in_half(person_id: int) -> bool:
    """What HALF says of a person, written out."""
    return int(person_id) % 1_000_000 < 500_000


def first_of(world: DemoWorld, zone: str, table: str, *, inside: bool = True) -> dict[str, Any]:
    """The first row of a table that is of a person in half of the people, or in the other half."""
    rows = world.rows(zone, table)
    rows = rows[rows["person_id"].notna()]
    chosen = rows[rows["person_id"].map(is_in_half) == inside]
    found: dict[str, Any] = chosen.sort_values(list(chosen.columns[:2])).iloc[0].to_dict()
    return found


def rule_of(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Source, entity and rule of a row; empty for none."""
    source, entity, rule = (row.get(name) or "" for name in ("_source", "_entity", "_rule"))
    return source, entity, rule


def delta(world: DemoWorld, zone: str, table: str) -> DeltaTable:
    return DeltaTable(str(world.table_path(zone, table)))


def update(world: DemoWorld, zone: str, table: str, value: str, where: str) -> int:
    """Change a column of some rows; how many they are."""
    column, _, new = value.partition(" = ")
    rows: int = delta(world, zone, table).update(updates={column: new}, predicate=where)["num_updated_rows"]
    assert rows
    return rows


def store_again(world: DemoWorld, zone: str, table: str, key: str, value: int) -> None:
    """Store a row a second time, as it is."""
    rows = delta(world, zone, table).to_pyarrow_table(filters=[(key, "=", value)])
    assert rows.num_rows == 1
    write_deltalake(str(world.table_path(zone, table)), rows, mode="append")


def found_in(verified: Verification) -> dict[str, tuple[Difference, ...]]:
    return {str(table.table): table.differences for table in verified.different}


@contextmanager
def while_the_lake_goes_on(world: DemoWorld, stage: str) -> Iterator[OnProgress]:
    """A stage; two tables lose all their rows when the first begins."""
    if stage == "make again":
        for zone, table in (("bronze", "gp_patient"), ("omop", "person")):
            delta(world, zone, table).delete()
    yield ignore_progress


def zone_and_name(text: str) -> tuple[str, str]:
    zone, _, name = text.partition(".")
    return zone, name


def options(world: DemoWorld) -> list[str]:
    values = {f"storage.{name}": world.folder / name for name in ("landing", "restricted", "deidentified")}
    values["key.path"] = world.folder / "restricted/demo.key"
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.deep
def test_what_two_nights_have_made_equals_its_rebuild(copy: DemoWorld) -> None:
    """Every table that a run makes is compared, nothing is written, nothing is left."""
    before = state_of(copy)
    with logging_to_stderr():  # which is over for the tests that follow
        ended = CliRunner().invoke(command.app, ["--all", "--json", *options(copy)])
    assert ended.exit_code == 0, ended.stdout
    shown = [json.loads(line) for line in ended.stdout.splitlines()]
    totals = shown[0]
    made = {"curation", "quarantine", "ledger", "silver", "intermediate", "omop"}
    stored = {f"{zone}.{name}" for zone, name in copy.tables(*made)} | {"vocabulary.source_to_concept_map"}
    logs = {name for name in stored if name.partition(".")[2].startswith(LOGS)}
    of_runs = {"ledger.rows", "ledger.gates", "ledger.figures", *logs}
    kept = {"curation.register", "curation.file_columns", *of_runs}
    assert totals == {
        "table": "verify",
        "run": "20260106-00002",
        "tables": len(stored - kept),
        "rows": totals["rows"],
        "different_tables": 0,
    }
    assert totals["rows"] == sum(len(copy.rows(*zone_and_name(name))) for name in stored - kept)
    assert {row["why"]: row["names"] for row in shown[1:]} == {
        DELIVERED: "bronze.*, curation.file_columns, curation.register",
        OF_RUNS: ", ".join(sorted(of_runs)),
    }
    assert state_of(copy) == before
    assert not (copy.folder / "restricted" / "verify").exists()


@pytest.mark.deep
def test_rows_changed_by_hand_are_found(changed: Changed) -> None:
    """Each with its table, its rows and their rule, and no table besides."""
    copy, expected = changed
    assert found_in(verify(copy.settings)) == expected


@pytest.mark.deep
def test_a_sample_finds_those_of_its_people(changed: Changed, tmp_path: Path) -> None:
    """Not those of others; of a table that needs everybody's rows it says that it was not compared.

    What becomes of the lakehouse once its versions were read makes no difference.
    """
    copy, expected = changed[0].copied_to(tmp_path / "demo"), changed[1]
    verified = verify(copy.settings, HALF, lambda name, total: while_the_lake_goes_on(copy, name))
    assert len(copy.rows("bronze", "gp_patient")) == len(copy.rows("omop", "person")) == 0
    elsewhere = {"omop.visit_occurrence", "omop.care_site"}
    assert found_in(verified) == {name: found for name, found in expected.items() if name not in elsewhere}
    assert verified.people == int(copy.rows("curation", "person")["person_id"].map(is_in_half).sum())
    compared = {str(table.table) for table in verified.compared}
    not_compared = {str(name) for name, why in verified.not_compared.items() if why == ONLY_ALL}
    assert {"omop.visit_occurrence", "omop.person", "silver.gp_patient", "curation.link"} <= compared
    assert {"omop.care_site", "intermediate.concept_map", "ledger.gate_measures_omop"} <= not_compared
    assert not compared & not_compared


def test_the_command_names_tables_and_numbers_and_ends_with_a_code_of_its_own() -> None:
    """That no value is among them follows: rows are counted by names of the contracts and mappings only."""
    differing = Compared(TableName(Zone.OMOP, "person"), 3, (Difference("gp", "observation", "a rule", 1, 2),))
    with pytest.raises(DifferenceError, match=r"^1 of 1 tables differ from their rebuild: omop\.person\.") as raised:
        command.show(Verification("20260106-00002", None, (differing,), {}))
    assert raised.value.exit_code == 40


@pytest.mark.parametrize("what", ["a setting", "a map"])
def test_where_a_run_would_make_tables_again_nothing_is_compared(copy: DemoWorld, tmp_path: Path, what: str) -> None:
    """A difference would be that of the setting or map, and say nothing of the runs."""
    settings = copy.settings
    if what == "a setting":
        person = settings.person.model_copy(update={"month_of_birth": True})
        settings = settings.model_copy(update={"person": person})
    else:
        mappings = shutil.copytree(PACKAGED_MAPPINGS_DIR, tmp_path / "mappings")
        change(mappings / MAP, "status", "UNAPPROVED")
        settings = settings.model_copy(update={"mappings_dir": mappings})
    with pytest.raises(NotCurrentError, match="its parameters have changed"):
        verify(settings)


def test_while_a_run_is_writing_nothing_is_compared(copy: DemoWorld) -> None:
    with another_run(copy), pytest.raises(RunUnderWayError, match="is being written to: run by"):
        verify(copy.settings)


HOLD = """
import sys
from pathlib import Path
from pipelines.run_lock import run_lock
with run_lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_run(world: DemoWorld) -> Iterator[None]:
    """A process that holds the lock of the lakehouse."""
    arguments = [sys.executable, "-c", HOLD, str(world.folder / "restricted")]
    process = subprocess.Popen(arguments, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        process.communicate("\n")


def test_what_a_killed_verify_has_left_is_removed_by_the_next_run(copy: DemoWorld) -> None:
    """It is readable by the account alone, as long as it is there."""
    place = copy.folder / "restricted" / "verify"
    arguments = [sys.executable, "-m", "jobs.cli", "verify", "--all", "--env", "demo", *options(copy)]
    process = subprocess.Popen(arguments, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(place.glob("nhs-omop-*/restricted/curation/*/_delta_log/*.json")) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(place.rglob("*.parquet"))
    assert [path for path in (place, *place.iterdir()) if path.stat().st_mode & 0o077] == []
    assert nightly(copy.settings, LAST_NIGHT).figures is None
    assert list(place.iterdir()) == []
