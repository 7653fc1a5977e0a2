"""Checksums of delivered files, which are not taken again of files that have not been touched.

A delivery whose sender states no SHA-256 is known by those that we take. So as not to read the whole landing folder every
night, a run remembers them with the size of each file and the mark of its last change.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

from pipelines.contracts.delivery_forms import Stated
from pipelines.contracts.models import Frozen
from pipelines.storage.documents import Document, Lost
from pipelines.storage.files import Entry, digest_of_file


class Checksum(NamedTuple):
    """A checksum that somebody states of a file, in lower case; `said_by` is how messages name where it stands."""

    kind: Stated
    digest: str
    said_by: str


class KnownChecksum(Frozen):
    """The SHA-256 of a file as it was when it had this size and mark of change (see `Entry`)."""

    path: str
    size: int
    changed: int | str
    sha256: str


class KnownChecksums(Document):
    """The checksums that a run took of files in the landing folder."""

    LOST: ClassVar[Lost] = Lost("the next run takes the checksums again", stops=False)

    entries: tuple[KnownChecksum, ...] = ()


class Checksums:
    """SHA-256 of files, taken once of each as long as it stays as it is."""

    def __init__(self, known: Iterable[KnownChecksum] = ()) -> None:
        self._known = {entry.path: entry for entry in known}
        self._seen: dict[str, KnownChecksum] = {}

    @classmethod
    def read(cls, restricted: Path) -> "Checksums":
        """With those that the last run took."""
        stored = KnownChecksums.read(checksums_path(restricted))
        return cls(stored.entries if stored else ())

    def store(self, restricted: Path) -> None:
        """Remember those that were asked for; of files that are gone nothing is kept."""
        if self._seen != self._known:
            entries = tuple(entry for _, entry in sorted(self._seen.items()))
            KnownChecksums(entries=entries).write(checksums_path(restricted))

    def of(self, file: Entry | None) -> str:
        """The SHA-256 of a file; empty for what is no plain file. Raises OSError if it cannot be read."""
        if file is None or not file.is_file or file.is_link:
            return ""
        path = str(file.path)
        known = self._known.get(path)
        if known is None or (known.size, known.changed) != (file.size, file.mark) or not file.mark:
            known = KnownChecksum(path=path, size=file.size, changed=file.mark, sha256=digest_of_file(file.path))
        self._seen[path] = known
        return known.sha256


def checksums_path(restricted: Path) -> Path:
    """The document of the checksums."""
    return restricted / "checksums.json"
