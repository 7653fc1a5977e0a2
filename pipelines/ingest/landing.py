"""What providers have delivered: folders, manifests, checksums and headers.

A delivery is one folder `landing/<source>/<provider>/<yyyymmdd>` with its `manifest.json`. It is taken whole or not at all.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.parse import Layout, layout_of, read_head

MANIFEST = "manifest.json"
CHUNK = 1 << 20


class ManifestFile(Frozen):
    """One file a manifest announces: its name, its data records and its SHA-256 as delivered."""

    name: str
    rows: int
    sha256: str


class Manifest(Frozen):
    """What a provider says of a delivery. `full` replaces all it sent before, `delta` adds to it."""

    source: str
    provider: str
    extract_date: date
    mode: Literal["full", "delta"]
    files: tuple[ManifestFile, ...]


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
    """One delivery folder, read from its manifest."""

    delivery_id: str
    source: str
    provider: str
    folder: Path
    extract_date: date
    mode: str
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        """How messages name it."""
        return f"{self.source}/{self.provider}/{self.folder.name}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def entity_of(name: str, contract: SourceContract) -> str | None:
    """The entity whose file patterns match a file name; None when none or several do."""
    lowered = name.casefold()
    matches = [
        entity
        for entity, spec in contract.entities.items()
        if any(fnmatch.fnmatchcase(lowered, pattern.casefold()) for pattern in spec.files)
    ]
    return matches[0] if len(matches) == 1 else None


def read_delivery(folder: Path, contract: SourceContract) -> Delivery:
    """Read one delivery's manifest.

    Raises DeliveryError if the manifest is missing, unreadable, of another source or provider, or names a file that no
    entity of the contract takes.
    """
    where = "/".join(folder.parts[-3:])
    path = folder / MANIFEST
    if not path.is_file():
        raise DeliveryError(f"{where}: no {MANIFEST}; ask the provider to send the delivery again, whole")
    content = path.read_bytes()
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) or "file" for fault in error.errors())
        raise DeliveryError(f"{where}/{MANIFEST}: not a manifest; wrong or missing: {fields}") from error
    provider = folder.parent.name
    if (manifest.source, manifest.provider) != (contract.source, provider):
        raise DeliveryError(f"{where}/{MANIFEST}: source or provider differs from the folder it lies in")
    files, unknown = [], []
    for announced in manifest.files:
        entity = entity_of(announced.name, contract)
        if entity is None:
            unknown.append(announced.name)
            continue
        file_id = _digest(contract.source, provider, folder.name, announced.name, announced.sha256)
        files.append(File(entity, folder / announced.name, file_id, announced.rows, announced.sha256))
    if unknown:
        raise DeliveryError(
            f"{where}: {len(unknown)} files match no entity of mappings/{contract.source}/contract.yaml: {_some(unknown)}"
        )
    identity = _digest(contract.source, provider, folder.name, hashlib.sha256(content).hexdigest())
    return Delivery(identity, contract.source, provider, folder, manifest.extract_date, manifest.mode, tuple(files))


def find_deliveries(landing: Path, contracts: Mapping[str, SourceContract]) -> list[Delivery]:
    """Every delivery in the landing folder, in the order in which they take effect: by day, then source and provider.

    Raises DeliveryError naming every delivery whose manifest cannot be used.
    """
    deliveries, faults = [], []
    for source, contract in contracts.items():
        for folder in sorted(path for path in (landing / source).glob("*/*") if path.is_dir()):
            try:
                deliveries.append(read_delivery(folder, contract))
            except DeliveryError as error:
                faults.append(str(error))
    if faults:
        raise DeliveryError("\n".join(faults))
    return sorted(deliveries, key=_by_day)


def _by_day(delivery: Delivery) -> tuple[date, str, str, str]:
    return delivery.extract_date, delivery.folder.name, delivery.source, delivery.provider


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = sorted(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


ColumnsRead = Mapping[str, Mapping[str, frozenset[str]]]
"""The columns that mapping rules read, by source and entity."""


def verify(
    deliveries: Iterable[Delivery], contracts: Mapping[str, SourceContract], columns_read: ColumnsRead | None = None
) -> dict[str, Layout]:
    """Check every file of the deliveries against its manifest and contract; give the layout of each file by file id.

    Raises DeliveryError naming each delivery to reject and why: files missing or not announced, checksums that differ, files
    that cannot be opened, headers without a required column, or without one that curate or a rule reads where it may have
    another name. Nothing of such a delivery may be loaded.
    """
    read = columns_read or {}
    faults: list[str] = []
    layouts: dict[str, Layout] = {}
    with ThreadPoolExecutor() as pool:
        for delivery in deliveries:
            faults += [f"{delivery.name}: {fault}" for fault in _folder_faults(delivery)]
            there = [file for file in delivery.files if file.path.is_file()]
            for file, actual in zip(there, pool.map(lambda file: sha256_of(file.path), there), strict=True):
                if actual != file.sha256:
                    faults.append(f"{delivery.name}/{file.path.name}: checksum differs from the manifest")
                    continue
                entity = contracts[delivery.source].entities[file.entity]
                in_use = entity.used_columns | read.get(delivery.source, {}).get(file.entity, frozenset())
                try:
                    head = read_head(file.path)
                except DeliveryError as error:
                    faults.append(str(error))
                    continue
                layout, wrong = layout_of(head, entity, in_use)
                faults += [f"{delivery.name}/{file.path.name}: {fault}" for fault in wrong]
                if layout:
                    layouts[file.file_id] = layout
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DeliveryError(
            f"{len(faults)} faults in deliveries; they are rejected whole and nothing was loaded:\n{shown}{more}\n"
            "Where a column only has another name there, add that name to its aliases in mappings/<source>/contract.yaml and "
            "run again. Otherwise ask the provider to send them again, or move the delivery folder out of the landing folder."
        )
    return layouts


def _folder_faults(delivery: Delivery) -> list[str]:
    announced = {file.path.name for file in delivery.files}
    present = {path.name for path in delivery.folder.iterdir() if path.is_file()} - {MANIFEST}
    missing, surplus = announced - present, present - announced
    faults = [f"{len(missing)} announced files are missing: {_some(missing)}"] if missing else []
    return faults + ([f"{len(surplus)} files are not in the manifest: {_some(surplus)}"] if surplus else [])
