"""Release documents on disk: one JSON file a release, and a pointer to the one that readers see.

Works on any POSIX folder, which includes volumes of Databricks under /Volumes: every file is written whole beside its
place and moved there, never appended to. Readers find the old pointer or the new one, nothing between.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import ReleaseError

POINTER = "current"
"""Name of the pointer file: the release that readers see, and every move of the pointer before."""


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The folder of release documents below the de-identified root."""

    root: Path

    def ids(self) -> list[str]:
        """Every release, the oldest run date first."""
        return sorted(path.stem for path in self.root.glob("*.json"))

    def read(self, release_id: str) -> dict[str, Any]:
        """The document of a release. Raises ReleaseError if there is none or it cannot be read."""
        path = self.root / f"{release_id}.json"
        if release_id not in self.ids():
            known = ", ".join(self.ids()) or "none"
            raise ReleaseError(f"there is no such release; releases: {known}")
        return _read_json(path)

    def write(self, release_id: str, document: dict[str, Any]) -> None:
        """Store a document. A release is immutable: one that is there already stays as it is."""
        if release_id not in self.ids():
            _replace(self.root / f"{release_id}.json", document)

    def moves(self) -> list[dict[str, str]]:
        """Every move of the pointer, the oldest first; the last one names the current release."""
        path = self.root / POINTER
        if not path.exists():
            return []
        moves: list[dict[str, str]] = _read_json(path)["moves"]
        return moves

    def current(self) -> str | None:
        """The release that readers see; None before the first one."""
        moves = self.moves()
        return moves[-1]["release_id"] if moves else None

    def point_at(self, release_id: str, *, action: str, at: str, reason: str = "") -> None:
        """Make a release the current one and record when and why. Pointing at the current release changes nothing."""
        self.read(release_id)
        if release_id != self.current():
            move = {"release_id": release_id, "action": action, "at": at, "reason": reason}
            _replace(self.root / POINTER, {"moves": [*self.moves(), move]})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path}: cannot be read as a release document") from error
    return document


def _replace(path: Path, document: dict[str, Any]) -> None:
    """Write a file whole or not at all, also when the machine stops in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
