"""`runs` and `status` on the demo: every way a run can end, with what both commands say of it."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import date, timedelta
from typing import Any

import pytest
import typer

from jobs import runs
from jobs import status as status_command
from jobs.cli import main
from jobs.command import start
from pipelines.release.published import gates_of, release_folder, runs_of
from pipelines.run_log import last_runs
from pipelines.settings import Settings
from tests.builders.policies import limit
from tests.conftest import PROJECT
from tests.e2e.identifiers import secrets_in
from tests.e2e.scanner import Haystack, Needles
from tests.e2e.world import LAST_NIGHT, DemoWorld

REGATE = limit("quarantined_share", 0.5)
"""A setting by which a run has something to do, and not much."""

PAUSED = """
import sys
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from jobs.demo import demo_settings
from pipelines.nightly import nightly
from pipelines.progress import ignore_progress

@contextmanager
def stage(name, total=None):
    if name == "make tables":
        print("making", flush=True)
        sys.stdin.readline()
    yield ignore_progress

nightly(demo_settings(Path(sys.argv[1]), [sys.argv[3]]), date.fromisoformat(sys.argv[2]), show_stage=stage)
"""
"""Runs a night, and waits for a line before it makes the tables."""


@pytest.fixture(scope="module")
def lake(world: DemoWorld, tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    """A copy of the demo after two nights, on which the tests of this module run in their order."""
    return world.copied_to(tmp_path_factory.mktemp("runs") / "demo")


def options(settings: Settings) -> list[str]:
    """What names the folders of a lakehouse to a command."""
    places = {f"storage.{name}": getattr(settings.storage, name) for name in ("landing", "restricted", "deidentified")}
    places["key.path"] = settings.storage.restricted / "demo.key"
    return ["--env", "demo", *[f"--set={name}={place}" for name, place in places.items()]]


def nhs_omop(lake: DemoWorld, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", *arguments, *options(lake.settings)]
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300, check=False
    )


def ended(lake: DemoWorld, *arguments: str) -> int:
    """The exit code of a command in this process, which has imported everything and cannot go into a network of its own."""
    try:
        main([*arguments, *options(lake.settings), "--set=engine.shared_network=a test that goes on after the command"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def run(lake: DemoWorld, *arguments: str, day: date = LAST_NIGHT) -> int:
    return ended(lake, "run", "--date", day.isoformat(), *arguments)


def said(app: typer.Typer, lake: DemoWorld, *arguments: str) -> list[dict[str, Any]]:
    """The rows that a command writes for machines, in this process."""
    with redirect_stdout(io.StringIO()) as written:
        start(app, ["--json", *arguments, *options(lake.settings)])
    return [json.loads(line) for line in written.getvalue().splitlines()]


def listed(lake: DemoWorld, *arguments: str) -> list[dict[str, Any]]:
    """What `runs --json` says."""
    return said(runs.app, lake, *arguments)


def status(lake: DemoWorld) -> dict[str, list[dict[str, Any]]]:
    """What `status --json` says, by table."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in said(status_command.app, lake):
        tables.setdefault(row.pop("table"), []).append(row)
    return tables


@contextmanager
def paused_run(lake: DemoWorld, setting: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has come to making the tables, killed at the end of the block."""
    command = [sys.executable, "-c", PAUSED, str(lake.folder), LAST_NIGHT.isoformat(), setting]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "making\n"
            yield started
        finally:
            started.kill()


def on_a_terminal(columns: int, lake: DemoWorld, *arguments: str) -> str:
    """What a command shows on a terminal of a width."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "jobs.cli", *arguments, *options(lake.settings)]
    with subprocess.Popen(command, cwd=PROJECT, env=variables | {"TERM": "xterm"}, stdout=follower) as started:
        os.close(follower)
        shown = b""
        while chunk := _read(leader):
            shown += chunk
    os.close(leader)
    assert started.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the command has ended
        return b""


def test_both_nights_are_listed_with_what_they_took_and_made(lake: DemoWorld) -> None:
    first, second = listed(lake)
    assert [first["run"], second["run"]] == ["20260105-00001", "20260106-00002"]
    assert [first["release"], second["release"]] == [outcome.release_id for outcome in lake.outcomes]
    for found, outcome in zip((first, second), lake.outcomes, strict=True):
        assert (found["state"], found["stage"], found["error"], found["next_step"]) == ("released", "release", None, None)
        assert outcome.figures is not None
        assert (found["new_rows"], found["new_deliveries"]) == (outcome.figures["new_rows"], outcome.figures["new_deliveries"])
        steps = {f"{time.step}_seconds": round(time.seconds, 2) for time in outcome.times}
        assert list(steps) == [f"{name}_seconds" for name in ("ingest", "curate", "map", "gates", "judge", "release")]
        assert {name: found[name] for name in steps} == steps
        assert found["seconds"] >= sum(steps.values()) - 0.1
        assert found["peak_gib"] > 0
        assert found["started"] < found["ended"]
    assert first["tables_current"] == 0
    assert first["tables_whole"] > 150
    assert second["tables_whole"] + second["tables_for_touched"] + second["tables_current"] >= first["tables_whole"]
    assert [found["run"] for found in listed(lake, "--last", "1")] == ["20260106-00002"]
    assert runs_of(lake.settings) == ["20260105-00001", "20260106-00002"]


def test_a_run_without_anything_new_is_unchanged(lake: DemoWorld) -> None:
    assert run(lake) == 0
    last = listed(lake)[-1]
    assert (last["run"], last["state"], last["release"]) == ("20260106-00003", "unchanged", lake.outcomes[-1].release_id)
    assert (last["new_rows"], last["tables_whole"]) == (0, None)
    shown = status(lake)
    assert shown["last run"][0]["state"] == "unchanged"
    assert "running" not in shown
    assert "tables that the next run makes again" not in shown


def test_a_failing_gate_says_which_and_what_to_do(lake: DemoWorld) -> None:
    assert run(lake, "--set", limit("mapped_share", 0)) == 21
    last = listed(lake)[-1]
    assert (last["run"], last["state"], last["stage"], last["release"]) == ("20260106-00004", "failed", "judge", None)
    assert (last["error"], last["exit_code"]) == ("QualityGateError", 21)
    assert "gates failed; nothing was published" in last["message"]
    assert last["next_step"].startswith("nhs-omop gate")
    assert any(not gate.passed for gate in gates_of(lake.settings, "20260106-00004"))
    (ended,) = status(lake)["last run"]
    assert {name: ended[name] for name in ("run", "state", "stage", "error", "exit_code", "message", "next_step")} == {
        name: last[name] for name in ("run", "state", "stage", "error", "exit_code", "message", "next_step")
    }
    assert release_folder(lake.settings).current() == lake.outcomes[-1].release_id


def test_a_failed_list_stops_at_the_checks(lake: DemoWorld) -> None:
    national = lake.folder / "landing/optouts/national"
    national.rename(lake.folder / "kept")
    assert run(lake) == 13
    (lake.folder / "kept").rename(national)
    last = listed(lake)[-1]
    assert (last["state"], last["stage"], last["error"]) == ("failed", "check", "OptOutMissingError")
    assert (last["new_rows"], last["tables_whole"]) == (None, None)
    assert "put the list there" in last["message"]


def test_a_run_under_way_is_shown_and_one_that_is_refused_is_none(lake: DemoWorld) -> None:
    """Killed, it is stopped, and the next run goes on from there."""
    with paused_run(lake, REGATE) as paused:
        before = listed(lake)
        assert (before[-1]["run"], before[-1]["state"], before[-1]["stage"]) == ("20260106-00006", "running", "make")
        assert (before[-1]["ended"], before[-1]["seconds"], before[-1]["next_step"]) == (None, None, None)
        (running,) = status(lake)["running"]
        assert (running["command"], running["pid"], running["run"], running["stage"]) == (
            "run",
            paused.pid,
            "20260106-00006",
            "make",
        )
        assert run(lake) == 30
        assert [found["run"] for found in listed(lake)] == [found["run"] for found in before]
    last = listed(lake)[-1]
    assert (last["run"], last["state"], last["stage"], last["ended"]) == ("20260106-00006", "stopped", "make", None)
    assert last["next_step"].startswith("nhs-omop run")
    shown = status(lake)
    assert "running" not in shown
    assert shown["last run"][0]["state"] == "stopped"
    assert run(lake, "--set", REGATE) == 0
    assert (listed(lake)[-1]["run"], listed(lake)[-1]["state"]) == ("20260106-00007", "released")


def test_selected_tables_are_made_and_nothing_released(lake: DemoWorld) -> None:
    assert run(lake, "--set", REGATE, "--select", "omop.person") == 0
    last = listed(lake)[-1]
    assert (last["state"], last["selected"], last["release"], last["tables_whole"]) == ("made", "omop.person", None, 0)
    assert last["tables_current"] > 10
    assert last["next_step"].startswith("nhs-omop run")


def test_an_earlier_run_date_is_a_later_run(lake: DemoWorld) -> None:
    assert run(lake, day=LAST_NIGHT - timedelta(days=1)) != 0
    assert listed(lake)[-1]["run"] == "20260105-00009"
    assert status(lake)["last run"][0]["run"] == "20260105-00009"


def test_status_says_how_old_release_and_lists_are(lake: DemoWorld) -> None:
    shown = status(lake)
    age = (date.today() - LAST_NIGHT).days
    assert shown["current release"][0]["age_days"] == age
    for row in shown["opt-out lists"]:
        assert (row["in_release"], row["last_used"], row["age_days"]) == ("2026-01-06", "2026-01-06", age)
        assert "fetch a new one" in row["next_step"]


def test_no_id_is_cut_in_a_pipe_or_on_a_narrow_terminal(lake: DemoWorld) -> None:
    ids = [text for found in listed(lake) for text in (found["run"], found["release"]) if text]
    assert len(ids) > 10
    piped = nhs_omop(lake, "runs", COLUMNS="40").stdout
    lines = [line for line in piped.splitlines() if line.startswith("│")]
    assert len(lines) == len(listed(lake))
    shown = {width: on_a_terminal(width, lake, "runs") for width in (40, 80, 250)}
    for text in (piped, *shown.values()):
        assert [found for found in ids if found not in text] == []
    assert "│" not in shown[40]
    assert "│" in shown[250]
    assert str(release_folder(lake.settings).current()) in on_a_terminal(40, lake, "status")


def test_the_list_holds_no_identity(lake: DemoWorld, needles: Needles) -> None:
    folder = lake.settings.storage.restricted / "runs"
    for path in folder.iterdir():
        assert not needles.kinds_in(Haystack(path.name, path.read_bytes(), True))
        assert not secrets_in(path.read_bytes())
    assert len(last_runs(lake.settings.storage.restricted)) == len(list(folder.iterdir())) == 9
