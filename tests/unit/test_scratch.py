"""Scratch folders: private while they are used, gone afterwards, and gone after a process that was killed."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.scratch import scratch_folder
from tests.conftest import PROJECT

HOLD = """
import sys
from pathlib import Path
from pipelines.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "spill").write_text("rows")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a scratch folder, and the folder."""
    command = [sys.executable, "-c", HOLD, str(place)]
    started = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    return started, Path(started.stdout.readline().strip())


def end(started: subprocess.Popen[str], how: signal.Signals) -> None:
    os.kill(started.pid, how)
    started.communicate()


def test_it_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with scratch_folder(tmp_path / "a" / "b") as folder:
            assert folder.parent == tmp_path / "a" / "b"
            assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)] == [0o700, 0o700]
            (folder / "deep").mkdir()
            (folder / "deep" / "spill").touch()
    finally:
        os.umask(umask)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_it_is_in_that_of_the_system() -> None:
    with scratch_folder(None) as folder:
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_stays(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    running, used = holder(tmp_path)
    end(killed, signal.SIGKILL)
    assert (left / "spill").exists()
    with scratch_folder(tmp_path) as own:
        assert sorted(tmp_path.iterdir()) == sorted([used, own])
        assert (used / "spill").read_text() == "rows"
    end(running, signal.SIGTERM)
    with scratch_folder(tmp_path):
        assert not used.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_removed_is_removed_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when an engine still writes there, or the process is killed while it removes the folder."""

    def all_but_what_is_busy(folder: Path, **_: object) -> None:
        for path in Path(folder).rglob("*"):
            if path.is_file() and path.parent.name != "busy":
                path.unlink()

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", all_but_what_is_busy)
        with scratch_folder(tmp_path) as left:
            (left / "busy").mkdir()
            (left / "busy" / "spill").touch()
    assert (left / "busy" / "spill").exists()
    with scratch_folder(tmp_path):
        assert not left.exists()


def test_what_is_not_a_scratch_folder_is_left_alone(tmp_path: Path) -> None:
    """Whatever its name: without the file of an owner nobody knows whose it is."""
    (tmp_path / "nhs-omop-notes").mkdir()
    (tmp_path / "nhs-omop-notes" / "text").touch()
    (tmp_path / "nhs-omop-file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".owner").touch()
    (tmp_path / "nhs-omop-link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with scratch_folder(tmp_path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_of_another_account_are_left_alone(tmp_path: Path) -> None:
    killed, left = holder(tmp_path)
    end(killed, signal.SIGKILL)
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(left, 65534, 65534)
    with scratch_folder(tmp_path):
        assert left.exists()
