"""Checksums of delivered files, which are not taken again of files that have not been touched.

A delivery whose sender states no SHA-256 is known by those that we take. So as not to read the whole landing folder every
night, a run remembers them with the size and the time of change of each file.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from pipelines.contracts.delivery_forms import Stated
from pipelines.contracts.models import Frozen
from pipelines.storage.documents import Document

CHUNK = 1 << 20


class Checksum(NamedTuple):
    """A checksum that somebody states of a file, in lower case; `said_by` is how messages name where it stands."""

    kind: Stated
    digest: str
    said_by: str


def digest_of_file(path: Path, kind: Stated = Stated.SHA256) -> str:
    """The checksum of a file's bytes, read in pieces."""
    digest = hashlib.new(kind.value, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


class KnownChecksum(Frozen):
    """The SHA-256 of a file as it was when it had this size and time of change (in nanoseconds)."""

    path: str
    size: int
    changed: int
    sha256: str


class KnownChecksums(Document):
    """The checksums that a run took of files in the landing folder."""

    entries: tuple[KnownChecksum, ...] = ()


class Checksums:
    """SHA-256 of files, taken once of each as long as it stays as it is."""

    def __init__(self, known: Iterable[KnownChecksum] = ()) -> None:
        self._known = {entry.path: entry for entry in known}
        self._seen: dict[str, KnownChecksum] = {}

    @classmethod
    def read(cls, restricted: Path) -> "Checksums":
        """With those that the last run took."""
        stored = KnownChecksums.read(_path(restricted))
        return cls(stored.entries if stored else ())

    def store(self, restricted: Path) -> None:
        """Remember those that were asked for; of files that are gone nothing is kept."""
        if self._seen != self._known:
            entries = tuple(entry for _, entry in sorted(self._seen.items()))
            KnownChecksums(entries=entries).write(_path(restricted))

    def of(self, path: Path) -> str:
        """The SHA-256 of a file; empty for what is no plain file. Raises OSError if it cannot be read."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return ""
        if not S_ISREG(found.st_mode):
            return ""
        entry = self._known.get(str(path))
        if entry is None or (entry.size, entry.changed) != (found.st_size, found.st_mtime_ns):
            digest = digest_of_file(path)
            entry = KnownChecksum(path=str(path), size=found.st_size, changed=found.st_mtime_ns, sha256=digest)
        self._seen[str(path)] = entry
        return entry.sha256


def _path(restricted: Path) -> Path:
    return restricted / "checksums.json"
