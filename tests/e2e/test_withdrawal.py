"""A delivery that is withdrawn leaves every table, as if it had never come."""

import json
import shutil

import pytest

from jobs.command import start
from jobs.withdraw import app
from pipelines.nightly import nightly
from pipelines.synthetic.generate import FIRST_NIGHT
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
    without_it = nightly(copy.settings, LAST_NIGHT)
    assert without_it.release_id == world.outcomes[-1].release_id
    after = content_of(copy, *ZONES)
    assert after.keys() == before.keys()
    assert [name for name, rows in before.items() if after[name] != rows] == []
