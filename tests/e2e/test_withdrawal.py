"""A delivery that is withdrawn leaves every table, as if it had never come."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from jobs.command import start
from jobs.withdraw import app
from pipelines.nightly import nightly, plan_run
from pipelines.release.published import release_folder
from pipelines.release.store import ROLLBACK
from pipelines.run_context import read_register
from pipelines.settings import storage_paths
from pipelines.storage.rights import private_files
from pipelines.synthetic.generate import FIRST_NIGHT
from pipelines.upkeep.keeping import executor_of, keep_up
from pipelines.verifying import verify
from tests.e2e.test_rerun import content_of
from tests.e2e.world import LAST_NIGHT, DemoWorld

ZONES = ("bronze", "curation", "quarantine", "silver", "intermediate", "omop")
DAY = f"{LAST_NIGHT:%Y%m%d}"


def deliver_as_another_practice(world: DemoWorld) -> None:
    """The first full extract of a practice, once more as that of a practice that nobody knows."""
    folder = world.folder / "landing/gp/Y99099" / DAY
    shutil.copytree(world.folder / "landing/gp/Y99001" / f"{FIRST_NIGHT:%Y%m%d}", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"provider": "Y99099"}))


def go_back_for_a_moment(world: DemoWorld, release_id: str) -> None:
    """Make a release the current one again; the next run may make another."""
    folder = release_folder(world.settings)
    folder.point_at(release_id, action=ROLLBACK, at="t1", reason="sent twice")
    folder.lift_rollback(at="t2", reason="withdrawn")


def providers_in_files(world: DemoWorld) -> set[str]:
    """The practices that any file of the patients in bronze has a row of, whichever versions it is of."""
    folder = world.table_path("bronze", "gp_patient")
    return {row for path in folder.glob("_load_id=*/*.parquet") for row in pq.read_table(path)["_provider"].to_pylist()}


@pytest.mark.deep
def test_after_a_withdrawal_every_table_is_as_before(
    world: DemoWorld, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = world.copied_to(tmp_path_factory.mktemp("withdrawn") / "demo")
    before = content_of(copy, *ZONES)
    deliver_as_another_practice(copy)
    with_it = nightly(copy.settings, LAST_NIGHT)
    assert with_it.figures is not None
    assert with_it.figures["new_deliveries"] == 1
    changed = {name for name, rows in content_of(copy, *ZONES).items() if rows != before[name]}
    assert {"bronze.gp_patient", "curation.register", "silver.gp_observation", "omop.measurement"} <= changed
    places = [f"storage.{name}={copy.folder / name}" for name in ("landing", "restricted", "deidentified")]
    start(app, [f"gp/Y99099/{DAY}", "--why", "sent twice", "--env", "demo", *[t for p in places for t in ("--set", p)]])
    assert "is withdrawn" in capsys.readouterr().err
    go_back_for_a_moment(copy, world.outcomes[-1].release_id)
    without_it = nightly(copy.settings, LAST_NIGHT)
    assert without_it.figures is not None, "the inputs are those of the current release again, the tables are not"
    assert without_it.release_id == f"{world.outcomes[-1].release_id}-2" == release_folder(copy.settings).current()
    assert nightly(copy.settings, LAST_NIGHT).figures is None
    after = content_of(copy, *ZONES)
    assert after.keys() == before.keys()
    assert [name for name, rows in before.items() if after[name] != rows] == []
    verified = verify(copy.settings)
    assert (verified.different, len(verified.compared) > 100) == ((), True)
    assert "Y99099" in providers_in_files(copy)
    kept = copy.settings.upkeep.model_copy(update={"keep_releases": 1, "keep_days": 0})
    settings = copy.settings.model_copy(update={"upkeep": kept})
    with private_files(), executor_of(settings.engine) as executor:
        keep_up(settings, executor, thorough=True)
    assert providers_in_files(copy) == {file.provider for file in read_register(storage_paths(settings)) if file.source == "gp"}
    assert plan_run(copy.settings, LAST_NIGHT) == []
