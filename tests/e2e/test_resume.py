"""A run that is killed goes on with the rest, wherever that was, and ends as if nothing had happened.

One lakehouse is loaded for two nights by processes that kill themselves right after they have written one of the tables
below: before the document of what was made is written, or after. What one process finished no later one makes again.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import pytest
from deltalake import DeltaTable

from pipelines.release.published import chosen_release
from pipelines.run_context import build_state_path
from pipelines.runner import BuildState, BuiltTable
from tests.conftest import PROJECT
from tests.e2e.test_rerun import content_of, multiset
from tests.e2e.world import NIGHTS, DemoWorld, night_of

DRIVER = """
import json, os, signal, sys
from datetime import date
from pathlib import Path
from threading import Lock

from jobs.demo import demo_settings
from pipelines.nightly import nightly
from pipelines.runner import Runner
from pipelines.terminology.vocabulary import load

folder, day, kills, said = Path(sys.argv[1]), date.fromisoformat(sys.argv[2]), json.loads(sys.argv[3]), open(sys.argv[4], "a")
make, bring_up_to_date = Runner._make, Runner._bring_up_to_date
lock = Lock()


def say(*words):
    with lock:
        print(*words, file=said, flush=True)


def kill_at(name, moment):
    if kills.get(str(name)) == moment:
        say("killed", name)
        os.kill(os.getpid(), signal.SIGKILL)


def make_and_kill(self, table, *arguments):
    say("made", table.name)
    version = make(self, table, *arguments)
    kill_at(table.name, "before")
    return version


def bring_up_to_date_and_kill(self, graph, name, *arguments):
    version = bring_up_to_date(self, graph, name, *arguments)
    if version is not None:
        kill_at(name, "after")
    return version


Runner._make, Runner._bring_up_to_date = make_and_kill, bring_up_to_date_and_kill
settings = demo_settings(folder)
load(settings)
say("released", nightly(settings, day).release_id)
"""
"""Runs one night; killed right after one of some tables is written, before or after that is recorded."""

KILLS: tuple[dict[str, str], ...] = (
    {
        "bronze.gp_patient": "before",
        "bronze.acute_apc_diagnosis": "after",
        "bronze.social_care_cld": "before",
        "curation.register": "before",
        "curation.versions_gp": "after",
        "curation.identities": "before",
        "curation.link": "after",
        "curation.person": "before",
        "curation.dispositions_gp_1": "after",
        "silver.gp_observation": "before",
        "silver.mental_health_mpi": "after",
        "quarantine.lines": "before",
        "ledger.row_outcomes": "after",
        "intermediate.person_rows": "before",
        "intermediate.stem_gp": "after",
        "intermediate.concept_map": "before",
        "intermediate.visits": "after",
        "vocabulary.source_to_concept_map": "before",
        "omop.person": "after",
        "omop.measurement": "before",
        "omop.visit_occurrence": "before",
        "omop.condition_era": "after",
        "ledger.rows": "before",
        "ledger.gate_measures_omop": "after",
        "ledger.gates": "before",
    },
    {
        "bronze.gp_patient": "after",
        "curation.link": "before",
        "omop.measurement": "before",
        "omop.person": "after",
        "ledger.gates": "after",
    },
)

OF_RUNS = {"ledger.rows", "ledger.gates"}
"""Each run has its rows there, and a process that goes on after they were written is a run of its own."""

ZONES = ("bronze", "curation", "quarantine", "ledger", "vocabulary", "silver", "intermediate", "omop")


@dataclass
class Killed:
    """The lakehouse that was killed again and again, with what every process said and what it found and left."""

    world: DemoWorld
    killed: list[str] = field(default_factory=list)
    made_again: dict[str, set[str]] = field(default_factory=dict)
    new_versions: dict[str, set[str]] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    before_the_night: dict[str, BuiltTable] = field(default_factory=dict)

    def run(self, day: date, kills: Mapping[str, str]) -> str | None:
        """One process; gives the table after which it was killed, or None where it came to its end."""
        done = {name: built for name, built in self.finished().items() if built != self.before_the_night.get(name)}
        said = self.world.folder / "said"
        said.unlink(missing_ok=True)
        command = [sys.executable, "-c", DRIVER, str(self.world.folder), day.isoformat(), json.dumps(kills), str(said)]
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
        words = [line.split() for line in said.read_text().splitlines()] if said.exists() else []
        last = next((name for what, name in words if what == "killed"), None)
        assert ended.returncode == (-signal.SIGKILL if last else 0), ended.stderr[-2000:]
        step = last or f"the end of {day}"
        self.made_again[step] = {name for what, name in words if what == "made"} & done.keys()
        self.new_versions[step] = {name for name, built in done.items() if self.version(name) != built.version}
        self.released += [name for what, name in words if what == "released"]
        return last

    def finished(self) -> dict[str, BuiltTable]:
        """What every table is recorded to be made from."""
        state = BuildState.read(build_state_path(self.world.settings))
        return dict(state.tables) if state else {}

    def version(self, name: str) -> int:
        """The newest version of a table in Delta."""
        return DeltaTable(str(self.world.table_path(*name.split(".")))).version()

    def load(self, day: date, kills: Mapping[str, str]) -> None:
        """One night by as many processes as it takes."""
        self.before_the_night = self.finished()
        left = dict(kills)
        while (last := self.run(day, left)) is not None:
            del left[last]
            self.killed.append(last)


@pytest.fixture(scope="module")
def lake(world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Both nights of the world, with the same deliveries and the same key, by processes that are killed."""
    folder = tmp_path_factory.mktemp("killed") / "demo"
    shutil.copytree(world.folder / "landing", folder / "landing")
    (folder / "restricted").mkdir(mode=0o700)
    shutil.copy2(world.folder / "restricted/demo.key", folder / "restricted/demo.key")
    lake = Killed(DemoWorld(folder))
    for night in range(NIGHTS):
        lake.load(night_of(night), KILLS[night])
    return lake


def test_it_was_killed_in_every_zone(lake: Killed) -> None:
    assert len(lake.killed) >= 20
    assert {name.partition(".")[0] for name in lake.killed} == set(ZONES)


def test_what_was_finished_is_not_made_again(lake: Killed) -> None:
    assert {step: names - OF_RUNS for step, names in lake.made_again.items() if names - OF_RUNS} == {}
    assert {step: names - OF_RUNS for step, names in lake.new_versions.items() if names - OF_RUNS} == {}


def test_it_ends_as_if_nothing_had_happened(lake: Killed, world: DemoWorld) -> None:
    """The rows of every table with their ids, the releases, and the ledger of the runs that made them."""
    assert lake.released == [outcome.release_id for outcome in world.outcomes]
    expected, found = content_of(world, *ZONES), content_of(lake.world, *ZONES)
    assert found.keys() == expected.keys()
    assert [name for name, rows in expected.items() if found[name] != rows and name not in OF_RUNS] == []
    for release in lake.released:
        assert rows_of_run(lake.world, release) == rows_of_run(world, release)


def rows_of_run(world: DemoWorld, release: str) -> list[Counter[tuple[object, ...]]]:
    """The ledger and the gate results of the run that made a release."""
    run_id = chosen_release(world.settings, release).run_id
    places = [name.split(".") for name in sorted(OF_RUNS)]
    tables = [world.rows(zone, table) for zone, table in places]
    return [multiset(rows[rows["run_id"] == run_id].drop(columns="run_id")) for rows in tables]
