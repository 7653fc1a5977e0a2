"""Scratch folders, of engines and of what is not finished: private, removed at the end, or by the next one if that was a kill.

A folder holds a file that its process keeps locked. A lock that can be had belongs to a process that has died.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "nhs-omop-"
OWNER = ".owner"


@contextmanager
def scratch_folder(parent: Path | None, prefix: str = PREFIX) -> Iterator[Path]:
    """A private folder for what does not fit in memory, below a folder or below that of the system; removed at the end.

    Those of the same prefix that processes of this account have left there, because they were killed, are removed first.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    remove_left(parent, prefix)
    place = Path(parent or tempfile.gettempdir())
    # Locked before it has its name: whatever has the name and can be locked was left.
    made = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=place))
    owner = os.open(made / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
    folder = made.with_name(made.name[1:])
    try:
        with suppress(OSError):  # a file system without locks: then nobody takes the folder for one that was left
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)
        yield folder
    finally:
        _remove(folder)
        os.close(owner)


def remove_left(parent: Path | None, prefix: str = PREFIX) -> None:
    """Remove the scratch folders that killed processes of this account have left below a folder or below that of the system."""
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # not ours, not of this kind, or just removed by another
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            owner = os.open(folder / OWNER, os.O_RDWR)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(owner)


def _remove(folder: Path) -> None:
    """Remove a folder, and its lock last: by that the next one knows what a kill in between has left."""
    with suppress(OSError):  # what cannot be removed now stays for the next one
        for entry in [entry for entry in folder.iterdir() if entry.name != OWNER]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if [entry.name for entry in folder.iterdir()] == [OWNER]:
            (folder / OWNER).unlink()
            folder.rmdir()
