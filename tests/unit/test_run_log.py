"""The list of runs: how every end of a run is kept, by real processes where the end is that of the process."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import OmopPipelineError, OptOutMissingError, QualityGateError
from pipelines.run_lock import holder_of, run_lock
from pipelines.run_log import RUNS, RunLog, RunState, TableCounts, day_begun, in_order, last_runs, logged_run, remove_runs
from tests.conftest import PROJECT

DAY = date(2026, 1, 5)

RUN = """
import sys
from datetime import date
from pathlib import Path
from pipelines.run_lock import run_lock
from pipelines.run_log import logged_run
root = Path(sys.argv[1])
with run_lock(root, "run"), logged_run(root, date(2026, 1, 5), "1.0") as logged, logged.stage("make"):
    print("runs", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A restricted root that is there, for its owner only."""
    (tmp_path / "restricted").mkdir(mode=0o700)
    return tmp_path / "restricted"


@pytest.fixture
def running(root: Path) -> subprocess.Popen[str]:
    """A process that runs until it reads a line or is killed."""
    pipe = subprocess.PIPE
    started = subprocess.Popen([sys.executable, "-c", RUN, str(root)], cwd=PROJECT, stdin=pipe, stdout=pipe, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "runs\n"
    return started


def released(root: Path, day: date = DAY, *earlier: str) -> str:
    """A run that comes to a release; its id."""
    with logged_run(root, day, "1.0", earlier) as logged:
        logged.ends(RunState.RELEASED, "20260105-abcdef01")
    return logged.run_id


def states(root: Path) -> list[str]:
    return [run.state.value for run in last_runs(root)]


def test_a_run_that_released_says_what_it_took_and_made(root: Path) -> None:
    with logged_run(root, DAY, "1.0", full=True) as logged:
        logged.enter("check")
        with logged.stage("ingest") as counted:
            counted["rows"] = 12
        logged.ingested(3, 1, 12)
        with logged.stage("make"):
            logged.made(TableCounts(whole=5, for_touched=70, current=9), touched=31)
        logged.ends(RunState.RELEASED, "20260105-abcdef01")
    (run,) = last_runs(root)
    record = run.record
    assert (run.state, record.release_id, record.run_id, record.run_date) == (
        RunState.RELEASED,
        "20260105-abcdef01",
        "20260105-00001",
        DAY,
    )
    assert (record.new_deliveries, record.set_aside, record.new_rows, record.touched) == (3, 1, 12, 31)
    assert record.tables == TableCounts(whole=5, for_touched=70, current=9)
    assert [(time.step, time.rows) for time in record.stages] == [("ingest", 12), ("make", 0)]
    assert (record.full, record.selected, record.failure, record.stage) == (True, (), None, "make")
    assert record.seconds is not None
    assert record.seconds >= sum(time.seconds for time in record.stages) > 0
    assert record.peak_gib is not None
    assert record.peak_gib > 0
    assert (root / RUNS / "20260105-00001.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("error", "code", "message", "next_step"),
    [
        (OptOutMissingError("no national list; put the list there"), 13, "no national list; put the list there", "do what the"),
        (
            QualityGateError("2 of 9 gates failed", can_be_waived=True),
            21,
            "2 of 9 gates failed",
            "nhs-omop gate --full shows what failed; correct mapping or data, or write a waiver into a .yaml file of the "
            "folder quality beside base.yaml (docs/gates.md#waivers), then nhs-omop run",
        ),
        (
            QualityGateError("1 of 9 gates failed"),
            21,
            "1 of 9 gates failed",
            "nhs-omop gate --full shows what failed; correct mapping or data, then nhs-omop run",
        ),
        (ValueError("cannot cast 'Zoe Smith'"), 70, "unexpected ValueError: its message may hold values", "report class and"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_kept_as_it_is_shown(root: Path, error: Exception, code: int, message: str, next_step: str) -> None:
    with pytest.raises(type(error)), logged_run(root, DAY, "1.0") as logged, logged.stage("judge"):
        logged.ends(RunState.RELEASED, "20260105-abcdef01")  # whatever it was about to say
        raise error
    (run,) = last_runs(root)
    assert (run.state, run.record.stage, run.record.release_id) == (RunState.FAILED, "judge", None)
    failure = run.record.failure
    assert failure is not None
    assert (failure.error, failure.exit_code) == (type(error).__name__, code)
    assert failure.message.startswith(message)
    assert failure.next_step.startswith(next_step)
    assert [time.step for time in run.record.stages] == ["judge"]
    assert "Smith" not in (root / RUNS / f"{run.record.run_id}.json").read_text()


def test_an_interrupted_run_is_stopped_and_has_an_end(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt), logged_run(root, DAY, "1.0"):
        raise KeyboardInterrupt
    (run,) = last_runs(root)
    assert (run.state, run.record.failure, run.record.ended is None) == (RunState.STOPPED, None, False)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=lambda end: end.name)
def test_a_run_is_running_until_it_is_killed_and_stopped_after_that(
    root: Path, running: subprocess.Popen[str], end: signal.Signals
) -> None:
    assert states(root) == ["running"]
    assert last_runs(root)[0].record.stage == "make"
    os.kill(running.pid, end)
    running.communicate()
    assert holder_of(root) is None
    assert states(root) == ["stopped"]
    assert last_runs(root)[0].record.ended is None
    with run_lock(root, "vocab load"):  # another command has the lock now
        assert states(root) == ["stopped"]
    with run_lock(root, "run"):  # and a run that is not in the list yet
        assert states(root) == ["stopped"]
        released(root)
    assert states(root) == ["stopped", "released"]


def test_of_a_run_that_ends_well_the_holder_is_gone(root: Path, running: subprocess.Popen[str]) -> None:
    holder = holder_of(root)
    assert holder is not None
    assert (holder.command, holder.pid) == ("run", running.pid)
    running.communicate("\n")
    assert running.returncode == 0
    assert holder_of(root) is None


def test_ids_grow_whatever_the_day_and_go_on_after_those_of_the_ledger(root: Path) -> None:
    assert released(root, DAY, "20251231-00007", "20260101-00006") == "20260105-00008"
    assert released(root, date(2025, 12, 1)) == "20251201-00009"
    assert released(root, DAY) == "20260105-00010"
    shutil.copy(root / RUNS / "20260105-00010.json", root / RUNS / "20260105-100000.json")
    assert released(root, DAY) == "20260105-100001"
    assert [path.stem for path in sorted((root / RUNS).iterdir())][:2] == ["20251201-00009", "20260105-00008"]
    assert in_order({"20260105-100001", "20260105-00010", "20251201-00009"}) == [
        "20251201-00009",
        "20260105-00010",
        "20260105-100001",
    ]


def test_the_last_runs_are_the_newest_in_the_order_in_which_they_were_begun(root: Path) -> None:
    ids = [released(root, date(2026, 1, day)) for day in (5, 4, 6)]
    assert ids == ["20260105-00001", "20260104-00002", "20260106-00003"]
    assert [run.record.run_id for run in last_runs(root)] == ids
    assert [run.record.run_id for run in last_runs(root, 2)] == ids[1:]
    assert [run.record.run_id for run in last_runs(root, 9)] == ids
    assert last_runs(root.parent / "nothing", 3) == []


def test_a_list_that_cannot_be_written_stops_no_run_that_has_begun(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    def break_it(logged: RunLog) -> None:
        shutil.rmtree(root / RUNS)
        (root / RUNS).write_text("no folder")
        logged.enter("make")

    with logged_run(root, DAY, "1.0") as logged:
        break_it(logged)
    assert "cannot be kept in the list of runs" in caplog.text


@pytest.mark.parametrize(("damaged", "shown"), [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])])
def test_a_document_that_is_damaged_is_named_and_the_others_are_shown(
    root: Path, damaged: int, shown: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    ids = [released(root, date(2026, 1, day)) for day in (5, 6, 7)]
    path = root / RUNS / f"{ids[damaged]}.json"
    path.write_text(path.read_text()[:100])
    assert [run.record.run_id for run in last_runs(root)] == [ids[number] for number in shown]
    step = "restore it from a backup, or remove it: the list of runs goes without it"
    assert caplog.messages == [f"{path}: cannot be read, and counts as not there; {step}"]
    assert day_begun(root, ids[damaged]) == date(2026, 1, 5 + damaged)
    assert released(root) == "20260105-00004"


def test_a_document_of_another_form_is_refused(root: Path) -> None:
    path = root / RUNS / f"{released(root)}.json"
    path.write_text(path.read_text().replace('"form": 1', '"form": 2'))
    with pytest.raises(OmopPipelineError, match="was written in form 2"):
        last_runs(root)


def test_runs_that_are_removed_are_not_in_the_list_and_give_their_number_to_nobody(root: Path) -> None:
    for _ in range(3):
        with logged_run(root, DAY, "1.0") as logged:
            logged.ends(RunState.UNCHANGED)
    remove_runs(root, ["20260105-00001", "20260105-00002", "20260105-00009"])
    with logged_run(root, DAY, "1.0") as logged:
        logged.ends(RunState.UNCHANGED)
    assert [run.record.run_id for run in last_runs(root)] == ["20260105-00003", "20260105-00004"]
