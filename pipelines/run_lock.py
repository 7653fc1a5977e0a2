"""One writer at a time: the lock of a lakehouse, in its restricted root.

The lock belongs to the open file of a process, so a process that has died holds none. A small document beside it says who
holds it. Commands that write take the lock before they read anything; those that read do without.
"""

import fcntl
import getpass
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import ClassVar

from pipelines.errors import RunUnderWayError
from pipelines.storage.documents import Document, Lost
from pipelines.storage.rights import make_private

log = logging.getLogger(__name__)

LOCK = "run.lock"
HOLDER = "run.json"

_PAUSES = (0.02,) * 5
"""Seconds between attempts: `holder_of` has the lock for far less than one of them, where the last holder has died."""


class Holder(Document):
    """Who holds the lock: a process of a user on a host, what it does, and since when (UTC)."""

    LOST: ClassVar[Lost] = Lost("the next command that writes makes it again", stops=False)

    command: str
    host: str
    pid: int
    user: str
    since: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.command} by {self.user} on {self.host}, process {self.pid}, since {self.since}"


UNKNOWN = Holder(command="a command", host="unknown", pid=0, user="unknown", since="unknown")


@contextmanager
def run_lock(restricted: Path, command: str) -> Iterator[None]:
    """Hold the lock of a lakehouse within the block. The restricted root is made, or seen to be private, first.

    Raises RunUnderWayError without waiting for its end, with who holds the lock since when, where another process does;
    RightsError where others may read the root.
    """
    make_private(restricted)
    descriptor = os.open(restricted / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, restricted)
        holder = Holder(
            command=command,
            host=socket.gethostname(),
            pid=os.getpid(),
            user=_user(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        holder.write(restricted / HOLDER)
        try:
            yield
        finally:
            (restricted / HOLDER).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def holder_of(restricted: Path) -> Holder | None:
    """Who holds the lock of a lakehouse, UNKNOWN where its document cannot be read; None where nobody does.

    Where a folder cannot be locked, a holder that has died is taken for one that still works.
    """
    if not (restricted / HOLDER).exists():
        return None
    try:
        descriptor = os.open(restricted / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # only to see whether that can be done
    except OSError:
        return Holder.read(restricted / HOLDER) or UNKNOWN
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int, restricted: Path) -> None:
    for pause in _PAUSES:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        sleep(pause)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = Holder.read(restricted / HOLDER)
        who = f"{holder}" if holder else "a command that has just begun"
        raise RunUnderWayError(
            f"{restricted} is being written to: {who}. Nothing was done; try again when it has ended"
        ) from error
    except OSError as error:
        log.warning("%s cannot be locked (%s): see to it that one command writes at a time", restricted, error.strerror)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return f"user {os.getuid()}"
