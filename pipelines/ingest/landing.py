"""What one delivery is: its folder, its manifest and its files.

A delivery is one folder `landing/<source>/<provider>/<yyyymmdd>` with its `manifest.json`. It is taken whole or not at all.
"""

import codecs
import fnmatch
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.parse import LIKE_A_HEADER

MANIFEST = "manifest.json"
NO_MANIFEST = f"no {MANIFEST}"
CHUNK = 1 << 20

JUNK = (
    ".ds_store",
    "._*",
    ".spotlight-v100",
    ".trashes",
    ".snapshot",
    ".fseventsd",
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "~$*",
    ".~lock.*#",
    "$recycle.bin",
    "system volume information",
    ".directory",
    ".nfs*",
    "@eadir",
    "lost+found",
)
"""What desktops, file servers and office programs leave behind, in lower case; none of it is ever data."""

_PATH = re.compile(r"[/\\\x00]|^[A-Za-z]:")
_END_OF_TEXT = "\x1a\x00 \t\r\n"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def is_junk(name: str) -> bool:
    """Whether an entry is what a desktop, a file server or an office program left behind."""
    return any(fnmatch.fnmatchcase(name.casefold(), pattern) for pattern in JUNK)


def _lower(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _day(value: Any) -> Any:
    """A day written `20260105` as `2026-01-05`; anything else as it is."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if isinstance(value, str) and re.fullmatch("[0-9]{8}", value) else value


class ManifestFile(Frozen):
    """One file a manifest announces: its name, its data records and its SHA-256 as delivered, in either case."""

    name: str
    rows: int = Field(ge=0)
    sha256: Annotated[str, BeforeValidator(_lower)]


Mode = Literal["full", "delta", "period"]
"""How a delivery replaces what came before: all of it, by the key of its records, or the reporting periods that it has."""


class Manifest(Frozen):
    """What a provider says of a delivery."""

    source: str
    provider: str
    extract_date: Annotated[date, BeforeValidator(_day)]
    mode: Annotated[Mode, BeforeValidator(_lower)]
    files: tuple[ManifestFile, ...]


class DeliveryName(NamedTuple):
    """The place of a delivery in the landing folder. Provider and folder are empty where only a part of it is there."""

    source: str
    provider: str = ""
    folder: str = ""

    def __str__(self) -> str:
        """How messages name it."""
        return "/".join(shown(part) for part in self if part)


@dataclass(frozen=True)
class File:
    """One announced file, the entity it feeds and its identity in bronze."""

    entity: str
    path: Path
    file_id: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """One delivery folder, read from its manifest. `unknown_keys` are keys of the manifest that mean nothing to us."""

    delivery_id: str
    source: str
    provider: str
    folder: Path
    extract_date: date
    mode: str
    files: tuple[File, ...]
    unknown_keys: tuple[str, ...] = ()

    @property
    def place(self) -> DeliveryName:
        """Where it is in the landing folder."""
        return DeliveryName(self.source, self.provider, self.folder.name)

    @property
    def name(self) -> str:
        """How messages name it."""
        return str(self.place)

    @property
    def rows(self) -> int:
        """The data records that its manifest announces."""
        return sum(file.rows for file in self.files)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def day_of(folder: str) -> date | None:
    """The day that the name of a folder gives (yyyymmdd); None where it gives none."""
    if not re.fullmatch("[0-9]{8}", folder):
        return None
    try:
        return datetime.strptime(folder, "%Y%m%d").date()
    except ValueError:
        return None


def shown(name: str, most: int = 100) -> str:
    """A name from a landing folder or a manifest as messages show it: in one line and not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def some(names: Iterable[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    listed = sorted(map(shown, names))
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def entity_of(name: str, contract: SourceContract) -> str | None:
    """The entity whose file patterns match a file name; None when none or several do."""
    lowered = name.casefold()
    matches = [
        entity
        for entity, spec in contract.entities.items()
        if any(fnmatch.fnmatchcase(lowered, pattern.casefold()) for pattern in spec.files)
    ]
    return matches[0] if len(matches) == 1 else None


AManifest = TypeVar("AManifest", bound=BaseModel)


def manifest_in(content: bytes, kind: type[AManifest]) -> tuple[AManifest, tuple[str, ...]]:
    """A manifest, and the keys in it that the model does not have; these are left out.

    Editors on Windows put a byte order mark before the JSON, or write UTF-16: both are read. Raises DeliveryError, which
    names the fields that are missing or wrong, never a value.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        stated = json.loads(content.decode(encoding).rstrip(_END_OF_TEXT))
    except (ValueError, RecursionError) as error:
        raise DeliveryError("not a manifest: it is no JSON") from error
    if not isinstance(stated, dict):
        raise DeliveryError("not a manifest: expected one JSON object")
    known, unknown = _known(stated, kind.model_fields)
    if isinstance(known.get("files"), list):
        files = [_known(file, ManifestFile.model_fields) if isinstance(file, dict) else (file, []) for file in known["files"]]
        known["files"] = [file for file, _ in files]
        unknown += [f"files.{name}" for _, names in files for name in names]
    try:
        manifest = kind.model_validate_json(json.dumps(known))
    except ValidationError as error:
        fields = ", ".join(dict.fromkeys(".".join(map(str, fault["loc"])) or "file" for fault in error.errors()))
        raise DeliveryError(f"not a manifest; wrong or missing: {fields}") from error
    return manifest, tuple(dict.fromkeys(name if LIKE_A_HEADER.fullmatch(name) else "an unusual key" for name in unknown))


def _known(stated: Mapping[str, Any], fields: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    known = {name: value for name, value in stated.items() if name in fields}
    return known, [name for name in stated if name not in fields]


def read_delivery(folder: Path, contract: SourceContract) -> Delivery:
    """Read one delivery's manifest.

    Raises DeliveryError if the manifest is missing, unreadable, of another source or provider, names a file outside the
    folder, or a file that no entity of the contract takes.
    """
    path = folder / MANIFEST
    if path.is_symlink():
        raise DeliveryError(f"{MANIFEST} is a symbolic link; only files that lie in the folder are read")
    if not path.is_file():
        raise DeliveryError(NO_MANIFEST)
    content = path.read_bytes()
    try:
        manifest, unknown_keys = manifest_in(content, Manifest)
    except DeliveryError as error:
        raise DeliveryError(f"{MANIFEST}: {error}") from error
    provider = folder.parent.name
    if (manifest.source, manifest.provider) != (contract.source, provider):
        raise DeliveryError(f"{MANIFEST}: source or provider differs from the folder it lies in")
    if not manifest.files:
        raise DeliveryError(f"{MANIFEST}: announces no file")
    _check_names([announced.name for announced in manifest.files])
    files, unknown = [], []
    for announced in manifest.files:
        entity = entity_of(announced.name, contract)
        if entity is None:
            unknown.append(announced.name)
            continue
        file_id = _digest(contract.source, provider, folder.name, announced.name, announced.sha256)
        files.append(File(entity, folder / announced.name, file_id, announced.rows, announced.sha256))
    if manifest.mode == "period" and not any(contract.entities[file.entity].period for file in files):
        where = f"mappings/{contract.source}/contract.yaml"
        raise DeliveryError(f"{MANIFEST}: mode period, but no entity of its files has a period in {where}")
    if unknown:
        raise DeliveryError(
            f"{len(unknown)} files match no entity of mappings/{contract.source}/contract.yaml: {some(unknown)}"
        )
    identity = _digest(contract.source, provider, folder.name, hashlib.sha256(content).hexdigest())
    return Delivery(
        identity, contract.source, provider, folder, manifest.extract_date, manifest.mode, tuple(files), unknown_keys
    )


def _check_names(names: list[str]) -> None:
    """Refuse names that lead out of the folder or into another one, and files that are announced twice."""
    faults = []
    paths = [name for name in names if name in ("", ".", "..") or _PATH.search(name)]
    if paths:
        faults.append(f"{len(paths)} names are paths, where only the name of a file in this folder is allowed: {some(paths)}")
    folded = [name.casefold() for name in names]
    twice = {name for name in names if folded.count(name.casefold()) > 1}
    if twice:
        faults.append(f"{len(twice)} files are announced more than once: {some(twice)}")
    if faults:
        raise DeliveryError(f"{MANIFEST}: {'; '.join(faults)}")
