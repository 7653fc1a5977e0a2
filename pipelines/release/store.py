"""Release documents on disk: one JSON file a release, a pointer to the one that readers see, who holds which, and what is gone.

Works on any POSIX folder, including Databricks volumes under /Volumes, and in an object store: every file is replaced as a
whole, never appended to. So readers find the old pointer or the new one, never a partial file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import count
from typing import ClassVar, TypeVar

from pipelines.contracts.models import Frozen
from pipelines.errors import OmopPipelineError, ReleaseError
from pipelines.release.model import Release, TablePin
from pipelines.run_log import in_order
from pipelines.storage.documents import Document
from pipelines.storage.files import AnyPath, entries_in, remove

Kind = TypeVar("Kind", bound=Document)

ROLLBACK, LIFT = "rollback", "lift"

POINTER = "current"
"""Name of the pointer file: the release that readers see, and every move of the pointer before."""

HOLDS = "holds"
"""Name of the file of holds: who keeps which release, and why."""

REMOVED = "removed"
"""Name of the file of the releases that are no more."""


class Move(Frozen):
    """One move of the pointer: to which release, by which action, when and why.

    Actions are release, rollback, and lift, which leaves the pointer where it is and ends the hold of a rollback.
    """

    release_id: str
    action: str
    at: str
    reason: str = ""


class Pointer(Document):
    """The pointer file: every move, the oldest first."""

    MODE: ClassVar[int] = 0o644

    moves: tuple[Move, ...]


class Hold(Frozen):
    """A release that stays whatever its age: for whom, why, since when, and up to which day where there is one, included.

    `lifted_at` and `lifted_because` say when and why it was ended before that.
    """

    release_id: str
    owner: str
    reason: str
    at: str
    until: date | None = None
    lifted_at: str | None = None
    lifted_because: str | None = None

    def lasts_on(self, day: date) -> bool:
        """Whether it keeps its release on a day."""
        return self.lifted_at is None and (self.until is None or day <= self.until)


class Holds(Document):
    """The file of holds: every one there was, the oldest first."""

    MODE: ClassVar[int] = 0o644

    holds: tuple[Hold, ...] = ()


class RemovedRelease(Frozen):
    """A release that is no more: when it was removed, and why."""

    release_id: str
    at: str
    reason: str


class Removed(Document):
    """The file of the releases that are no more, in the order in which they were removed."""

    MODE: ClassVar[int] = 0o644

    releases: tuple[RemovedRelease, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The folder of release documents below the de-identified root."""

    root: AnyPath

    def ids(self) -> list[str]:
        """Every release, the oldest run date first."""
        return sorted(entry.path.stem for entry in entries_in(self.root) if entry.path.suffix == ".json")

    def oldest_first(self) -> list[Release]:
        """Every release in the order in which runs made them, which on one day no id says."""
        releases = [self.read(release_id) for release_id in self.ids()]
        runs = in_order({release.run_id for release in releases})
        return sorted(releases, key=lambda release: runs.index(release.run_id))

    def read(self, release_id: str) -> Release:
        """A release. Raises ReleaseError if there is none of that id or its document cannot be read."""
        if release_id not in self.ids():
            gone = next((removed for removed in self.removed() if removed.release_id == release_id), None)
            known = ", ".join(self.ids()) or "none"
            said = f"release {release_id} was removed at {gone.at}: {gone.reason}" if gone else "there is no such release"
            if gone is None and release_id == self.current():
                said = f"the document of the current release {release_id} is gone: restore it from a backup"
            raise ReleaseError(f"{said}; releases: {known}")
        release = _read(Release, self.root / f"{release_id}.json")
        if release is None:
            raise ReleaseError(f"release {release_id} was removed while it was being read")
        return release

    def write(self, release: Release) -> Release:
        """Store a release; gives it as it is stored.

        It is immutable: one of the same id and tables stays as it is. One of the same id with other tables, which was made of
        the same inputs on the same day, gets a number more. No release has an id that another had.
        """
        known, gone = self.ids(), {removed.release_id for removed in self.removed()}
        if not known and _read(Pointer, self.root / POINTER) is None:  # from here on a pointer that is missing was lost
            Pointer(moves=()).write(self.root / POINTER)
        for number in count(1):
            release_id = release.release_id if number == 1 else f"{release.release_id}-{number}"
            if release_id in known:
                stored = self.read(release_id)
                if len(stored.tables) == len(release.tables) and all(map(TablePin.is_same, stored.tables, release.tables)):
                    return stored
            elif release_id not in gone:
                break
        named = release.model_copy(update={"release_id": release_id})
        named.write(self.root / f"{release_id}.json")
        return named

    def remove(self, release_ids: Iterable[str], *, at: str, reason: str, day: date) -> None:
        """Remove releases, and note when and why. The versions that only they pin are then free to go.

        Raises ReleaseError, and removes none, where one is the current release, is held on `day`, or is not there.
        """
        wanted, held = tuple(release_ids), self.held(day)
        for release_id in wanted:
            if release_id == self.current():
                raise ReleaseError(f"release {release_id} is the current one and stays")
            if release_id in held:
                owners = ", ".join(hold.owner for hold in held[release_id])
                raise ReleaseError(
                    f"release {release_id} is held for {owners} and stays; nhs-omop releases hold --lift ends that"
                )
            self.read(release_id)
        if wanted:
            gone = (RemovedRelease(release_id=release_id, at=at, reason=reason) for release_id in wanted)
            Removed(releases=(*self.removed(), *gone)).write(self.root / REMOVED)
        for release_id in wanted:
            remove(self.root / f"{release_id}.json")

    def removed(self) -> tuple[RemovedRelease, ...]:
        """The releases that are no more."""
        document = _read(Removed, self.root / REMOVED)
        return document.releases if document else ()

    def holds(self) -> tuple[Hold, ...]:
        """Every hold there was, the oldest first."""
        document = _read(Holds, self.root / HOLDS)
        return document.holds if document else ()

    def held(self, day: date) -> dict[str, tuple[Hold, ...]]:
        """The releases that are held on a day, each with its holds."""
        held: dict[str, tuple[Hold, ...]] = {}
        for hold in self.holds():
            if hold.lasts_on(day):
                held[hold.release_id] = (*held.get(hold.release_id, ()), hold)
        return held

    def put_hold(self, hold: Hold) -> None:
        """Keep a release for an owner; a former hold of that owner on it ends. Raises ReleaseError for an unknown release."""
        self.read(hold.release_id)
        earlier = self._ended(hold.release_id, hold.owner, at=hold.at, reason="replaced by another hold")
        Holds(holds=(*earlier, hold)).write(self.root / HOLDS)

    def lift_hold(self, release_id: str, owner: str, *, at: str, reason: str, day: date) -> None:
        """End the hold of an owner on a release. Raises ReleaseError where none lasts on `day`."""
        owners = [hold.owner for hold in self.held(day).get(release_id, ())]
        if owner not in owners:
            known = f"it is held for {', '.join(owners)}" if owners else "nobody holds it"
            raise ReleaseError(f"that owner does not hold release {release_id}; {known}")
        Holds(holds=self._ended(release_id, owner, at=at, reason=reason)).write(self.root / HOLDS)

    def _ended(self, release_id: str, owner: str, *, at: str, reason: str) -> tuple[Hold, ...]:
        """Every hold, those of an owner on a release ended."""
        end = {"lifted_at": at, "lifted_because": reason}
        return tuple(
            hold.model_copy(update=end) if (hold.release_id, hold.owner, hold.lifted_at) == (release_id, owner, None) else hold
            for hold in self.holds()
        )

    def moves(self) -> tuple[Move, ...]:
        """Every move of the pointer, the oldest first; the last one names the current release.

        Raises ReleaseError where there are releases and no pointer: with it went which one readers see, and a rollback.
        """
        pointer = _read(Pointer, self.root / POINTER)
        if pointer is None and self.ids():
            raise ReleaseError(
                f"{self.root / POINTER} is gone, which says what release readers see and whether a rollback holds: restore it "
                'from a backup. Without one write {"form": 1, "moves": []} into it: then the next run makes its release current'
            )
        return pointer.moves if pointer else ()

    def current(self) -> str | None:
        """The release that readers see; None before the first one."""
        moves = self.moves()
        return moves[-1].release_id if moves else None

    def before(self, release_id: str) -> str:
        """The release that readers saw before a run made another current; of one that no run did, the one made before it.

        Raises ReleaseError where there is none.
        """
        known, moves = [release.release_id for release in self.oldest_first()], self.moves()
        came = [n for n, move in enumerate(moves) if move.release_id == release_id and move.action not in (ROLLBACK, LIFT)]
        seen = [move.release_id for move in moves[: came[-1]]] if came else known[: known.index(release_id)]
        earlier = [other for other in seen if other in known and other != release_id]
        if not earlier:
            raise ReleaseError(f"there is no release before {release_id}")
        return earlier[-1]

    def point_at(self, release_id: str, *, action: str, at: str, reason: str = "") -> None:
        """Make a release the current one and record when and why. Does nothing if it is the current release already."""
        self.read(release_id)
        if release_id != self.current():
            self._move(Move(release_id=release_id, action=action, at=at, reason=reason))

    def held_rollback(self) -> Move | None:
        """The rollback that holds: until it is lifted no run makes another release current. None where there is none."""
        moves = self.moves()
        return moves[-1] if moves and moves[-1].action == ROLLBACK else None

    def lift_rollback(self, *, at: str, reason: str) -> Move:
        """End the hold of a rollback, which is given; readers see its release until the next run. Raises ReleaseError."""
        held = self.held_rollback()
        if held is None:
            raise ReleaseError("no rollback holds: the next run makes its release current as it is")
        self._move(Move(release_id=held.release_id, action=LIFT, at=at, reason=reason))
        return held

    def _move(self, move: Move) -> None:
        Pointer(moves=(*self.moves(), move)).write(self.root / POINTER)


def _read(kind: type[Kind], path: AnyPath) -> Kind | None:
    try:
        return kind.read(path)
    except OmopPipelineError as error:
        raise ReleaseError(f"{error}") from error
