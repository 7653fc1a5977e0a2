"""`doctor` on a lakehouse that is as it should be, and ids that a narrow pipe does not cut."""

import subprocess
import sys

from tests.conftest import PROJECT
from tests.e2e.world import LAST_NIGHT, DemoWorld


def shown(world: DemoWorld, *arguments: str) -> str:
    """What a command writes to a pipe of 40 columns."""
    places = {f"storage.{name}": world.folder / name for name in ("landing", "restricted", "deidentified")}
    places["key.path"] = world.folder / "restricted/demo.key"
    options = ["--env", "demo", *[f"--set={name}={place}" for name, place in places.items()]]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments, *options],
        cwd=PROJECT,
        env={"COLUMNS": "40", "PATH": "", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_is_as_it_should_be(world: DemoWorld) -> None:
    found = shown(world, "doctor", "--date", LAST_NIGHT.isoformat(), "--engine")
    lines = [[cell.strip() for cell in line.split("│")[1:4]] for line in found.splitlines() if line.startswith("│")]
    assert "fault" not in {state for state, _, _ in lines}
    said = {what: text for _, what, text in lines}
    assert said["vocabulary"] == "v5.0 30-AUG-24 (demo)"
    assert said["national opt-outs"].endswith("days old")
    assert "nothing is made with it yet" not in said["key"]
    assert said["restricted"] == f"{world.folder / 'restricted'}, for this account only"
    assert said["engine"] == "starts"


def test_no_id_is_cut_in_a_narrow_pipe(world: DemoWorld) -> None:
    release = world.outcomes[-1].release_id
    for arguments in (["status"], ["runs"], ["releases", "list"]):
        assert release in shown(world, *arguments), arguments
    assert str(world.folder / "landing") in shown(world, "doctor", "--date", LAST_NIGHT.isoformat())
    deliveries = shown(world, "deliveries")
    assert all(
        folder.parent.name in deliveries and folder.name in deliveries for folder in (world.folder / "landing/gp").glob("*/*")
    )
