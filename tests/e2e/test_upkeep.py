"""Upkeep of a lakehouse that real runs have made: what is kept can be read, and nothing is made again because of it."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import upkeep
from jobs.demo import demo_settings
from jobs.publish import publish_release
from pipelines.nightly import nightly, plan_run
from pipelines.release.published import release_folder
from pipelines.settings import Settings
from pipelines.storage.rights import private_files
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import load
from pipelines.upkeep.keeping import executor_of, keep_up
from tests.e2e.reading import ASKED, Reader, read, reading
from tests.e2e.world import SEED

pytestmark = pytest.mark.deep

PEOPLE, NIGHTS = 40, 4

POLICY = ["upkeep.keep_releases=2", "upkeep.keep_days=0", "upkeep.keep_runs=2", "upkeep.small_files=1"]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader]:
    """A lakehouse after three of four nights, and a reader who read meanwhile."""
    place = tmp_path_factory.mktemp("upkeep")
    generate(PEOPLE, SEED, NIGHTS, place)
    demo_key_file(place / "restricted" / "demo.key")
    settings = demo_settings(place)
    load(settings)
    with reading(settings) as reader:
        for night in range(NIGHTS - 1):
            nightly(settings, FIRST_NIGHT + timedelta(days=night))
    return place, reader


@pytest.fixture
def folder(nights: tuple[Path, Reader]) -> Path:
    """The folder of the lakehouse."""
    return nights[0]


def test_a_reader_during_runs_sees_one_release_or_the_other(nights: tuple[Path, Reader]) -> None:
    """Every answer comes wholly from one release, and readers come to each in its turn."""
    settings, reader = demo_settings(nights[0]), nights[1]
    ids = release_folder(settings).ids()
    expected = dict(read(settings, release_id) for release_id in ids)
    assert reader.errors == []
    assert len(ids) == NIGHTS - 1
    for before, after in itertools.pairwise(ids):
        assert len([name for name in ASKED if expected[before][name] != expected[after][name]]) >= 3
    assert [answer for release_id, answer in reader.answers if answer != expected[release_id]] == []
    assert [release_id for release_id, _ in itertools.groupby(reader.answers, key=lambda answer: answer[0])] in (ids, ids[:-1])


def size_of(settings: Settings) -> int:
    roots = settings.storage.restricted, settings.storage.deidentified
    return sum(path.stat().st_size for root in roots for path in root.rglob("*") if path.is_file())


def test_after_upkeep_releases_can_be_read_and_the_next_run_makes_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    settings = demo_settings(folder, POLICY)
    day = FIRST_NIGHT + timedelta(days=NIGHTS - 2)
    first, *kept = release_folder(settings).ids()
    rows = {release_id: publish_release(settings, tmp_path / "before.duckdb", release_id) for release_id in kept}
    before = size_of(settings)
    arguments = [
        argument
        for setting in (*POLICY, *(f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")))
        for argument in ("--set", setting)
    ]
    said = CliRunner().invoke(upkeep.app, ["--dry-run", "--env", "demo", *arguments])
    assert said.exit_code == 0, said.output
    assert size_of(settings) == before
    with private_files(), executor_of(settings.engine) as executor:
        report = keep_up(settings, executor, thorough=True)
    assert (report.releases, len(report.runs)) == ((first,), 1)
    changed = {str(table.name): table for table in report.tables}
    assert changed["omop.person"].versions == (3, 2)
    assert size_of(settings) < before
    assert plan_run(settings, day) == []
    assert nightly(settings, day).figures is None
    for release_id in kept:
        assert publish_release(settings, tmp_path / f"{release_id}.duckdb", release_id) == rows[release_id]
    done = CliRunner().invoke(upkeep.app, ["--env", "demo", *arguments])
    assert done.exit_code == 0, done.output
    made = nightly(settings, day + timedelta(days=1))
    assert made.figures is not None
    assert release_folder(settings).ids() == [kept[-1], made.release_id]
    assert {entry.run_id for entry in map(release_folder(settings).read, release_folder(settings).ids())} == {
        f"{day:%Y%m%d}-00003",
        f"{day + timedelta(days=1):%Y%m%d}-00005",
    }
