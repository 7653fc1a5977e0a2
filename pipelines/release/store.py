"""Release documents on disk: one JSON file a release, and a pointer to the one that readers see.

Works on any POSIX folder, including Databricks volumes under /Volumes: every file is written under a temporary name and then
renamed, never appended to. So readers find the old pointer or the new one, never a partial file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from pipelines.errors import OmopPipelineError, ReleaseError
from pipelines.release.model import Release
from pipelines.storage.documents import Document

Kind = TypeVar("Kind", bound=Document)

ROLLBACK, LIFT = "rollback", "lift"

POINTER = "current"
"""Name of the pointer file: the release that readers see, and every move of the pointer before."""


class Move(BaseModel):
    """One move of the pointer: to which release, by which action, when and why.

    Actions are release, rollback, and lift, which leaves the pointer where it is and ends the hold of a rollback.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    release_id: str
    action: str
    at: str
    reason: str = ""


class Pointer(Document):
    """The pointer file: every move, the oldest first."""

    MODE: ClassVar[int] = 0o644

    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The folder of release documents below the de-identified root."""

    root: Path

    def ids(self) -> list[str]:
        """Every release, the oldest run date first."""
        return sorted(path.stem for path in self.root.glob("*.json"))

    def read(self, release_id: str) -> Release:
        """A release. Raises ReleaseError if there is none of that id or its document cannot be read."""
        if release_id not in self.ids():
            known = ", ".join(self.ids()) or "none"
            raise ReleaseError(f"there is no such release; releases: {known}")
        release = _read(Release, self.root / f"{release_id}.json")
        if release is None:
            raise ReleaseError(f"release {release_id} was removed while it was being read")
        return release

    def write(self, release: Release) -> None:
        """Store a release. It is immutable: one that is there already stays as it is."""
        if release.release_id not in self.ids():
            release.write(self.root / f"{release.release_id}.json")

    def remove(self, release_ids: Iterable[str]) -> None:
        """Remove releases. The versions that they pin are then free to go. Raises ReleaseError for the current release."""
        for release_id in release_ids:
            if release_id == self.current():
                raise ReleaseError(f"release {release_id} is the current one and stays")
            (self.root / f"{release_id}.json").unlink(missing_ok=True)

    def moves(self) -> tuple[Move, ...]:
        """Every move of the pointer, the oldest first; the last one names the current release."""
        pointer = _read(Pointer, self.root / POINTER)
        return pointer.moves if pointer else ()

    def current(self) -> str | None:
        """The release that readers see; None before the first one."""
        moves = self.moves()
        return moves[-1].release_id if moves else None

    def point_at(self, release_id: str, *, action: str, at: str, reason: str = "") -> None:
        """Make a release the current one and record when and why. Does nothing if it is the current release already."""
        self.read(release_id)
        if release_id != self.current():
            self._move(Move(release_id=release_id, action=action, at=at, reason=reason))

    def hold(self) -> Move | None:
        """The rollback that holds: until it is lifted no run makes another release current. None where there is none."""
        moves = self.moves()
        return moves[-1] if moves and moves[-1].action == ROLLBACK else None

    def lift(self, *, at: str, reason: str) -> Move:
        """End the hold of a rollback, which is given; readers see its release until the next run. Raises ReleaseError."""
        held = self.hold()
        if held is None:
            raise ReleaseError("no rollback holds: the next run makes its release current as it is")
        self._move(Move(release_id=held.release_id, action=LIFT, at=at, reason=reason))
        return held

    def _move(self, move: Move) -> None:
        Pointer(moves=(*self.moves(), move)).write(self.root / POINTER)


def _read(kind: type[Kind], path: Path) -> Kind | None:
    try:
        return kind.read(path)
    except OmopPipelineError as error:
        raise ReleaseError(f"{error}") from error
