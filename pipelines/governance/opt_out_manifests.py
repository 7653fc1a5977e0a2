"""Manifests for opt-out lists whose senders give none."""

import csv
from datetime import date
from pathlib import Path

from pipelines.errors import DeliveryError
from pipelines.governance.opt_out_lists import FILES, KINDS, NATIONAL_REQUEST, NATIONAL_RESPONSE, ListManifest
from pipelines.ingest.making_manifests import Records, announced


def list_manifest(folder: Path, as_at: date) -> tuple[ListManifest, dict[str, Records]]:
    """The manifest of a list in a folder `optouts/<kind>/<day>`, and the entries of each file.

    Raises DeliveryError where the kind or a file is unknown, or a file cannot be read to its end.
    """
    kind = next((known for known in KINDS if known == folder.parent.name), None)
    if kind is None:
        raise DeliveryError(f"{folder.parent.name}: no kind of opt-out list; there are {', '.join(KINDS)}")

    def count(path: Path) -> Records:
        if path.name not in FILES[kind]:
            raise DeliveryError(f"no file of the {kind} list; expected {', '.join(FILES[kind])}")
        return Records(_entries(path))

    files, counts = announced(folder, count)
    missing = [name for name in FILES[kind] if name not in counts]
    if missing:
        raise DeliveryError(f"optouts/{kind}/{folder.name}: files are missing: {', '.join(missing)}")
    written = {"kind": kind, "as_at": as_at, "files": [file.model_dump() for file in files]}
    return ListManifest.model_validate(written), counts


def _entries(path: Path) -> int:
    """The entries of a list: of the national files every line that is not empty, of the others every record."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if path.name in (NATIONAL_RESPONSE, NATIONAL_REQUEST):
                return sum(bool(line.strip()) for line in lines)
            return max(sum(any(record) for record in csv.reader(lines, strict=True)) - 1, 0)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DeliveryError(f"cannot be read to its end ({type(error).__name__})") from error
