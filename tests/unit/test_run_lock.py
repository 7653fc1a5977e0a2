"""One writer at a time: real processes that hold the lock, die with it, or are refused."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from pipelines.errors import RightsError, RunUnderWayError
from pipelines.run_lock import HOLDER, LOCK, UNKNOWN, Holder, holder_of, run_lock
from tests.conftest import PROJECT

HOLD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that was started in the background ignores it
from pathlib import Path
from pipelines.run_lock import run_lock
with run_lock(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""

TRY = """
import sys
from pathlib import Path
from pipelines.errors import RunUnderWayError
from pipelines.run_lock import run_lock
sys.stdin.readline()
try:
    with run_lock(Path(sys.argv[1]), "run"):
        print("held", flush=True)
        sys.stdin.readline()
except RunUnderWayError as error:
    print("refused", flush=True)
    sys.exit(error.exit_code)
"""


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line, killed at the end of the block if it still runs."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def line_of(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def go_on(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("\n")
    started.stdin.flush()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A restricted root that is not there yet."""
    return tmp_path / "restricted"


def test_of_processes_started_together_one_works_and_the_others_are_refused(root: Path) -> None:
    with process(TRY, root) as first, process(TRY, root) as second, process(TRY, root) as third:
        tried = (first, second, third)
        for started in tried:
            go_on(started)
        said = [line_of(started) for started in tried]
        assert sorted(said) == ["held", "refused", "refused"]
        go_on(tried[said.index("held")])
        assert sorted(started.wait(20) for started in tried) == [0, 30, 30]


def test_the_refused_one_hears_who_holds_it_since_when(root: Path) -> None:
    with process(HOLD, root, "vocab load") as holder:
        assert line_of(holder) == "held"
        with pytest.raises(RunUnderWayError) as refused, run_lock(root, "run"):
            pytest.fail("held twice")
        stated = Holder.read(root / HOLDER)
        assert stated is not None
        assert (stated.command, stated.pid) == ("vocab load", holder.pid)
        for part in ("vocab load by ", stated.user, stated.host, f"process {holder.pid}", f"since {stated.since}"):
            assert part in str(refused.value)
        assert refused.value.exit_code == 30


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_a_dead_process_holds_nothing(root: Path, end: signal.Signals) -> None:
    with process(HOLD, root, "run") as holder:
        assert line_of(holder) == "held"
        os.kill(holder.pid, end)
        holder.wait(20)
    with run_lock(root, "run"):
        stated = Holder.read(root / HOLDER)
        assert stated is not None
        assert stated.pid == os.getpid()
    assert not (root / HOLDER).exists()


def test_it_can_be_taken_again_after_an_error(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(root, "run"):
        raise ZeroDivisionError
    with run_lock(root, "run"), pytest.raises(RunUnderWayError), run_lock(root, "rollback"):
        pytest.fail("held twice in one process")


def test_a_child_process_does_not_keep_it(root: Path) -> None:
    with run_lock(root, "run"):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with run_lock(root, "run"):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_lakehouses_have_locks_of_their_own(tmp_path: Path) -> None:
    with run_lock(tmp_path / "one", "run"), run_lock(tmp_path / "other", "run"):
        assert (tmp_path / "one" / HOLDER).exists()
        assert (tmp_path / "other" / HOLDER).exists()


def test_nothing_is_locked_where_others_have_rights(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    with pytest.raises(RightsError, match="chmod -R go="), run_lock(root, "run"):
        pytest.fail("held")
    assert list(root.iterdir()) == []


def test_a_look_at_the_lock_names_its_holder_and_leaves_it_alone(root: Path) -> None:
    assert holder_of(root) is None
    with process(HOLD, root, "vocab load") as holder:
        assert line_of(holder) == "held"
        for _ in range(3):
            found = holder_of(root)
            assert found is not None
            assert (found.command, found.pid) == ("vocab load", holder.pid)
        holder.kill()
        holder.wait(20)
    assert (root / HOLDER).exists()
    assert holder_of(root) is None
    with run_lock(root, "run"):
        pass
    assert holder_of(root) is None


def test_a_damaged_note_of_the_holder_stops_nobody(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / HOLDER).write_text('{"form"')
    assert holder_of(root) is None
    with run_lock(root, "run"):
        found = holder_of(root)
        assert found is not None
        assert found.pid == os.getpid()
        (root / HOLDER).write_text('{"form"')
        assert holder_of(root) == UNKNOWN
        with pytest.raises(RunUnderWayError), run_lock(root, "run"):
            pytest.fail("held twice")
    assert holder_of(root) is None


def test_whoever_looks_at_the_lock_refuses_nobody(root: Path) -> None:
    """A look has the lock for a moment where the last holder has died."""
    root.mkdir(mode=0o700)
    looking = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
    Timer(0.03, os.close, (looking,)).start()
    with run_lock(root, "run"):
        assert holder_of(root) is not None
