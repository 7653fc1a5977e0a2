"""Two commands that write, started together: one works, the other is refused. Those that read go on."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.run_lock import run_lock
from tests.conftest import PROJECT


def process(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`nhs-omop COMMAND ...` on the lakehouse in a folder."""
    places = {f"storage.{name}": folder / name for name in ("landing", "restricted", "deidentified")}
    settings = [f"--set={name}={value}" for name, value in (places | {"key.path": folder / "restricted" / "demo.key"}).items()]
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--env", "demo", *settings]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **variables}, stdout=pipe, stderr=pipe, text=True)


def test_of_two_loads_started_together_one_works_and_one_is_refused(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        both = [process(tmp_path, "vocab", "load") for _ in range(2)]
        said = {started.wait(120): started.communicate() for started in both}
    finally:
        os.umask(before)
    assert sorted(said) == [0, 30], said
    refused = re.sub(r"\s+", " ", said[30][1])
    assert re.search(r"is being written to: vocab load by \S+ on \S+, process \d+, since 20\d\d-|has just begun", refused)
    assert "vocabulary" in said[0][0]
    assert stat.S_IMODE((tmp_path / "restricted").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "--date", "2026-01-05"), 30),
        (("run", "--date", "2026-01-05", "--select", "silver"), 30),
        (("vocab", "load"), 30),
        (("rollback", "--reason", "r"), 30),
        (("rollback", "--lift", "--reason", "r"), 30),
        (("withdraw", "gp/Y99001/20260105", "--why", "r"), 30),
        (("withdraw", "gp/Y99001/20260105", "--undo"), 30),
        (("status",), 0),
        (("releases",), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_commands_that_write_are_refused_while_another_does(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    with run_lock(tmp_path / "restricted", "erase"):
        started = process(tmp_path, *arguments)
        _, err = started.communicate(timeout=120)
    assert (started.returncode, "erase by " in err) == (code, code == 30), err


@pytest.mark.parametrize(
    "arguments", [("run", "--date", "2026-01-05"), ("vocab", "load"), ("rollback", "--reason", "r")], ids=str
)
def test_a_root_on_which_others_have_rights_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "restricted").mkdir()
    (tmp_path / "restricted").chmod(0o750)
    started = process(tmp_path, *arguments)
    _, err = started.communicate(timeout=120)
    assert (started.returncode, "chmod -R go=" in err) == (31, True), err
    assert not (tmp_path / "deidentified").exists()
