"""The tasks of the Databricks jobs, each called as a Python wheel task calls it: in order to a release, and failing.

The command lines are those of `conf/databricks/jobs.yml`, with the variables of the bundle, the parameters of the job and the
folder of volumes filled in. The settings in `HERE` follow each: they replace what only Databricks has. What publishes writes
a file, because the embedded engine keeps no views; tests/spark/test_catalog.py calls the line as it is, with tables by name.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from pipelines.governance.keys import new_key_file
from pipelines.release.store import ReleaseFolder
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from tests.builders.bundle import call_as_wheel_task, tasks, values_here
from vocab.load import DEMO_DIR

PEOPLE, SEED, SOURCES = 20, 7, ("ambulance", "social_care")

HERE = (
    "environment=test",  # production refuses NHS numbers of the test range and the demo vocabulary
    "engine={kind: sail, shared_network: a test that goes on after the command}",
    "storage.catalog=null",  # the embedded engine has no catalog
    "opt_outs.national_share.least=0",  # of so few people
)

VIEWS = "catalog:safe.cdm"
"""What the task that publishes is told to make."""


@dataclass(frozen=True)
class Job:
    """The tasks of a job by key; `folder` has the volumes of two catalogs."""

    folder: Path
    lines: dict[str, list[str]]

    @property
    def published(self) -> Path:
        """The file that is made in place of views."""
        return self.folder / "cdm.duckdb"

    @property
    def releases(self) -> ReleaseFolder:
        """The documents of its releases."""
        return ReleaseFolder(self.folder / "safe/documents/deidentified/releases")

    def call(self, task: str, *more: str) -> None:
        """Call a task; `more` are settings, or options that begin with a dash."""
        self.call_line([f"duckdb:{self.published}" if word == VIEWS else word for word in self.lines[task]], *more)

    def call_line(self, words: list[str], *more: str) -> None:
        """Call a command line with the settings of this machine after it."""
        settings = (*HERE, f"key={{kind: file, path: {self.folder / 'key'}}}", *more)
        call_as_wheel_task([*words, *(word if word.startswith("-") else f"--set={word}" for word in settings)])


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job in front of delivered files, with its key, and the vocabulary that the other job has loaded."""
    folder = tmp_path_factory.mktemp("bundle")
    values = values_here(folder, "identifiable", "safe", FIRST_NIGHT.isoformat(), SOURCES)
    job = Job(folder, dict(tasks("nightly", values)))
    generate(PEOPLE, SEED, 1, folder / "generated", sources=SOURCES)
    shutil.copytree(folder / "generated/landing", folder / "identifiable/landing/extracts")
    shutil.copytree(DEMO_DIR, folder / "safe/documents/vocabulary")
    (folder / "safe/documents/reports").mkdir()
    new_key_file(folder / "key")
    ((_, line),) = tasks("vocabulary", values)
    job.call_line(line)
    return job


@pytest.fixture(scope="module")
def released(job: Job) -> Job:
    """The job after all its tasks, in order."""
    for task in job.lines:
        job.call(task)
    return job


def test_each_task_returns_and_together_they_publish_a_release(released: Job) -> None:
    current = released.releases.current()
    assert current is not None
    people = released.releases.read(current).pin("omop", "person").rows
    with duckdb.connect(str(released.published), read_only=True) as published:
        assert published.sql("SELECT count(*) FROM cdm.person").fetchall() == [(people,)]
    assert people > 0


def test_the_report_of_the_night_is_in_its_volume(released: Job) -> None:
    (report,) = (released.folder / "safe/documents/reports").iterdir()
    assert report.name == f"{FIRST_NIGHT.isoformat()}.md"
    assert f"- release: {released.releases.current()}\n" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("task", ["ingest", "map", "release"])
def test_a_task_that_is_tried_again_changes_nothing(released: Job, task: str) -> None:
    before = released.releases.ids()
    released.call(task)
    assert released.releases.ids() == before


BROKEN = {
    "check_lists": (13, "storage.landing={empty}"),  # no opt-out list
    "ingest": (17, "key.path={empty}/key"),  # no key
    "curate": (15, "--date=2026-02-20"),  # opt-out lists too old
    "map": (18, "vocabulary.version=another"),  # not the vocabulary that is loaded
    "gate": (11, "mappings_dir={empty}"),  # no contracts
    "release": (21, "gates.limits=[{check: source_concept_given, allowed: 0, severity: error}]"),  # a gate
    "report": (22, "storage={restricted: {empty}/a, deidentified: {empty}/b}"),  # no run
    "publish": (22, "storage.deidentified={empty}/b"),  # no release
}
"""How each task is broken, and the exit code that says so."""


@pytest.mark.parametrize("task", BROKEN)
def test_a_broken_task_fails_and_leaves_the_release(released: Job, task: str, tmp_path: Path) -> None:
    code, what = BROKEN[task]
    before = released.releases.current()
    with pytest.raises(SystemExit) as stopped:
        released.call(task, what.replace("{empty}", str(tmp_path)))
    assert (stopped.value.code, stopped.value.__cause__) == (code, None)
    assert released.releases.current() == before


@pytest.mark.parametrize("task", BROKEN)
def test_a_task_with_an_unknown_option_fails(job: Job, task: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        job.call(task, "--there-is-none")
    assert stopped.value.code == 2


def test_views_need_an_engine_with_a_catalog(job: Job) -> None:
    with pytest.raises(SystemExit) as stopped:
        job.call_line(job.lines["publish"])
    assert stopped.value.code == 10
