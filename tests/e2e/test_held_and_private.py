"""After runs: rights of what they wrote, and rollbacks that the next run does not undo."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import rollback
from pipelines.nightly import nightly
from pipelines.release.published import release_folder
from tests.e2e.world import LAST_NIGHT, DemoWorld


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_runs_wrote_is_private_and_a_release_is_for_whoever_may_enter_its_root(world: DemoWorld) -> None:
    restricted, shared = world.folder / "restricted", world.folder / "deidentified"
    assert rights(restricted) == 0o700
    assert [path for path in restricted.rglob("*") if path.is_file() and rights(path) & 0o077] == []
    granted = rights(shared) & 0o055
    assert {rights(path) & 0o055 for path in shared.rglob("*") if path.is_dir()} == {granted}
    assert {rights(path) & 0o055 for path in shared.rglob("*") if path.is_file()} == {granted & 0o044}


def test_a_rollback_holds_over_runs_until_it_is_lifted(
    world: DemoWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = world.copied_to(tmp_path / "demo")
    folder = release_folder(copy.settings)
    first, second = (outcome.release_id for outcome in copy.outcomes)
    settings = [f"--set=storage.{name}={copy.folder / name}" for name in ("landing", "restricted", "deidentified")]

    def roll_back(*arguments: str) -> None:
        result = CliRunner().invoke(rollback.app, [*arguments, "--env", "demo", *settings])
        assert result.exit_code == 0, result.output

    roll_back("--reason", "a wrong map", "--accept-older-opt-outs")
    assert folder.current() == first
    outcome = nightly(copy.settings, LAST_NIGHT)
    assert (outcome.release_id, folder.current()) == (second, first)
    assert "rollback --lift" in caplog.text
    roll_back("--lift", "--reason", "map corrected")
    assert folder.current() == first
    assert nightly(copy.settings, LAST_NIGHT).release_id == folder.current() == second
    assert nightly(copy.settings, LAST_NIGHT).figures is None
