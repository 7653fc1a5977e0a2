"""A run that is killed goes on with the rest, wherever that was, and ends as if nothing had happened.

One lakehouse is loaded for two nights by processes that kill themselves at the points below: while a table is written, before
the document of what was made is written, or after; before or after a document is replaced. What one process finished no later
one makes again.
"""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import cycle
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines.nightly import plan_run
from pipelines.release.published import chosen_release
from pipelines.run_inputs import build_state_path
from pipelines.run_lock import run_lock
from pipelines.run_log import RunState, last_runs
from pipelines.runner import BuildState, BuiltTable
from pipelines.synthetic.generate import FIRST_NIGHT
from tests.conftest import PROJECT
from tests.e2e.killing import AFTER, BEFORE, DURING, Nights
from tests.e2e.test_rerun import content_of, multiset
from tests.e2e.world import LAST_NIGHT, NIGHTS, DemoWorld, night_of

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
        "document.KnownChecksums": "before",
        "bronze.gp_patient": "after",
        "curation.link": "before",
        "silver.gp_observation": "during",
        "omop.measurement": "before",
        "omop.condition_occurrence": "during",
        "omop.person": "after",
        "ledger.gates": "after",
        "document.Release": "before",
        "document.Pointer": "before",
    },
)
"""The points of each night: the moment by table or document."""

pytestmark = pytest.mark.timeout(1800)

MOMENTS = (DURING, BEFORE, AFTER)
EVERY = 4
"""Of the tables that the second night makes, each of so many is a point of the deep test."""

OF_RUNS = {"ledger.rows", "ledger.gates", "ledger.figures"}
"""Each run has its rows there, and a process that goes on after they were written is a run of its own."""

ZONES = ("bronze", "curation", "quarantine", "ledger", "vocabulary", "silver", "intermediate", "omop")


@dataclass
class Killed:
    """The lakehouse that was killed again and again, with what every process said and what it found and left."""

    world: DemoWorld
    nights: Nights
    killed: list[str] = field(default_factory=list)
    made_again: dict[str, set[str]] = field(default_factory=dict)
    new_versions: dict[str, set[str]] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    before_the_night: dict[str, BuiltTable] = field(default_factory=dict)

    def run(self, day: date, kills: Mapping[str, str]) -> str | None:
        """One process; gives the point where it was killed, or None where it came to its end."""
        done = {name: built for name, built in self.finished().items() if built != self.before_the_night.get(name)}
        said = self.nights.run(self.world.folder, day, kills)
        step = said.killed or f"the end of {day}"
        self.made_again[step] = set(said.made) & done.keys()
        self.new_versions[step] = {name for name, built in done.items() if self.version(name) != built.version}
        self.released += [said.released] if said.released else []
        return said.killed

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
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """What runs nights in processes of their own."""
    with Nights(tmp_path_factory.mktemp("killing") / "log") as found:
        yield found


def not_yet_loaded(world: DemoWorld, folder: Path) -> DemoWorld:
    """The same deliveries and the same key."""
    shutil.copytree(world.folder / "landing", folder / "landing")
    (folder / "restricted").mkdir(mode=0o700)
    shutil.copy2(world.folder / "restricted/demo.key", folder / "restricted/demo.key")
    return DemoWorld(folder)


@pytest.fixture(scope="module")
def lake(world: DemoWorld, nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Both nights of the world by processes that are killed."""
    lake = Killed(not_yet_loaded(world, tmp_path_factory.mktemp("killed") / "demo"), nights)
    for night in range(NIGHTS):
        lake.load(night_of(night), KILLS[night])
    return lake


@pytest.mark.deep
def test_it_was_killed_in_every_zone(lake: Killed) -> None:
    assert len(lake.killed) >= 20
    assert len(KILLS[1].keys() & set(lake.killed)) >= 6
    assert {name.partition(".")[0] for name in lake.killed} == {*ZONES, "document"}


@pytest.mark.deep
def test_what_was_finished_is_not_made_again(lake: Killed) -> None:
    assert_nothing_was_made_again(lake)


@pytest.mark.deep
def test_it_ends_as_if_nothing_had_happened(lake: Killed, world: DemoWorld) -> None:
    assert_ended_as(lake, world)


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from time import sleep
from jobs.cli import main
from jobs.demo import demo_settings
from pipelines.runner import Runner
from pipelines.terminology.vocabulary import load

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored by what it starts behind itself
make = Runner._make


def make_and_be_interrupted(runner, table, *arguments):
    if str(table.name) == "bronze.gp_patient":
        os.kill(os.getpid(), signal.SIGINT)
        sleep(0.5)
    return make(runner, table, *arguments)


Runner._make = make_and_be_interrupted
folder = Path(sys.argv[1])
load(demo_settings(folder))
places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
options = [f"--set={one}" for one in (*places, f"key.path={folder / 'restricted/demo.key'}")]
main(["run", "--env", "demo", "--date", sys.argv[2], *options])
"""


def test_an_interrupt_ends_a_run_and_frees_the_lock(world: DemoWorld, tmp_path: Path) -> None:
    lake = not_yet_loaded(world, tmp_path / "demo")
    command = [sys.executable, "-c", INTERRUPTED, str(lake.folder), night_of(0).isoformat()]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = last_runs(lake.settings.storage.restricted)
    assert run.state is RunState.STOPPED
    with run_lock(lake.settings.storage.restricted, "run"):
        assert DeltaTable(str(lake.table_path("bronze", "gp_patient"))).version() == 0


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_a_night_that_is_killed_at_every_turn(world: DemoWorld, nights: Nights, tmp_path: Path) -> None:
    """The second night, killed at a share of all tables that it makes, at each of the moments in turn."""
    lake = Killed(not_yet_loaded(world, tmp_path / "demo"), nights)
    lake.load(FIRST_NIGHT, {})
    planned = [str(step.name) for step in plan_run(lake.world.settings, LAST_NIGHT)]
    points = dict(zip(planned[::EVERY], cycle(MOMENTS), strict=False)) | KILLS[1]
    lake.load(LAST_NIGHT, points)
    assert len(lake.killed) >= 30
    assert {points[name] for name in lake.killed} == set(MOMENTS)
    assert_nothing_was_made_again(lake)
    assert_ended_as(lake, world)


def assert_nothing_was_made_again(lake: Killed) -> None:
    """Neither what is of this night nor what is of an earlier one, but for what each run enters."""
    assert {step: names - OF_RUNS for step, names in lake.made_again.items() if names - OF_RUNS} == {}
    assert {step: names - OF_RUNS for step, names in lake.new_versions.items() if names - OF_RUNS} == {}


def assert_ended_as(lake: Killed, world: DemoWorld) -> None:
    """The rows of every table with their ids, the releases, and the ledger of the runs that made them."""
    assert lake.released == [outcome.release_id for outcome in world.outcomes]
    expected, found = content_of(world, *ZONES), content_of(lake.world, *ZONES)
    assert found.keys() == expected.keys()
    assert [name for name, rows in expected.items() if found[name] != rows and name not in OF_RUNS] == []
    for release in lake.released:
        undisturbed, entered = rows_of_run(world, release), rows_of_run(lake.world, release)
        assert {name: (rows - entered[name], entered[name] - rows) for name, rows in undisturbed.items()} == dict.fromkeys(
            sorted(OF_RUNS), (Counter(), Counter())
        )


def rows_of_run(world: DemoWorld, release: str) -> dict[str, Counter[tuple[object, ...]]]:
    """By table, what the run entered that made a release: its ledger, its gate results, its figures."""
    run_id = chosen_release(world.settings, release).run_id
    places = {name: name.split(".") for name in sorted(OF_RUNS)}
    tables = {name: world.rows(zone, table) for name, (zone, table) in places.items()}
    return {name: multiset(rows[rows["run_id"] == run_id].drop(columns="run_id")) for name, rows in tables.items()}
