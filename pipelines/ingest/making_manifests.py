"""Manifests for deliveries whose senders give none: names, checksums, and the records that our own reader finds."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel

from pipelines.contracts.delivered_names import shown
from pipelines.contracts.delivery_forms import Ending, Mode
from pipelines.contracts.source import Entity, SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.checking import fault_of
from pipelines.ingest.landing import (
    MANIFEST,
    Manifest,
    ManifestFile,
    by_name,
    control_files_of,
    entity_of,
    is_junk,
    is_kept_beside,
    is_passed_over,
    is_unfinished,
)
from pipelines.ingest.parse import layout_of, parse_file, read_head
from pipelines.storage.files import AnyPath, digest_of_file, entries_in, why, write_whole


@dataclass(frozen=True)
class Records:
    """The data records of a file, and how many of them are no rows of its table (they would be quarantined)."""

    records: int
    malformed: int = 0


def records_of(path: AnyPath, entity: Entity, ending: Ending) -> Records:
    """Count the records of a delivered file, as a load counts them. Raises DeliveryError if it cannot be read."""
    layout, faults = layout_of(read_head(path), entity, ending=ending)
    if layout is None:
        raise DeliveryError("; ".join(faults))
    records = malformed = 0
    for batch in parse_file(path, "", "", (), layout):
        reasons = batch.column("_reason")
        records += batch.num_rows
        malformed += batch.num_rows - reasons.null_count
    return Records(records, malformed)


def announced(
    folder: AnyPath, count: Callable[[AnyPath], Records], others: Collection[str] = ()
) -> tuple[list[ManifestFile], dict[str, Records]]:
    """An entry for every file in a folder, with the counts of each; junk and the names `others` are left out.

    Raises DeliveryError, which names every file that cannot be counted and everything that is no file.
    """
    files: list[ManifestFile] = []
    counts: dict[str, Records] = {}
    faults: list[str] = []
    for name, entry in by_name(entries_in(folder)).items():
        path = entry.path
        if name == MANIFEST or name in others or is_junk(name):
            continue
        if entry.is_link or not entry.is_file:
            faults.append(f"{shown(path.name)}: not a plain file; only plain files are delivered")
            continue
        try:
            counts[path.name] = count(path)
        except DeliveryError as error:
            faults.append(f"{shown(path.name)}: {fault_of(path, error)}")
            continue
        files.append(ManifestFile(name=path.name, rows=counts[path.name].records, sha256=digest_of_file(path)))
    if not files and not faults:
        faults.append("there is no file in it")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise DeliveryError(
            f"{shown(folder.name)}: no manifest was written\n{lines}\nremove or correct what is named, then try again"
        )
    return files, counts


def delivery_manifest(
    folder: AnyPath, contract: SourceContract, mode: Mode, extract_date: date
) -> tuple[Manifest, dict[str, Records]]:
    """The manifest of a delivery in a folder `<provider>/<yyyymmdd>`, and the counts of each file.

    Raises DeliveryError, which names every file that no entity of the contract takes or that cannot be read.
    """
    form = contract.form_of(folder.parent.name)
    ending = Ending(form.trailer if form else None)

    def count(path: AnyPath) -> Records:
        entity = entity_of(path.name, contract)
        if entity is None:
            raise DeliveryError(f"matches no entity of mappings/{contract.source}/contract.yaml")
        if is_unfinished(path.name, contract) or is_kept_beside(path.name, contract):
            raise DeliveryError("called as a file that is still coming, or one that lies beside a delivered file")
        return records_of(path, contract.entities[entity], ending)

    entries = entries_in(folder)
    left_out = {entry.name for entry in control_files_of(entries, form)}
    left_out |= {entry.name for entry in entries if is_passed_over(entry.name, contract)}
    files, counts = announced(folder, count, left_out)
    manifest = Manifest(
        source=contract.source, provider=folder.parent.name, extract_date=extract_date, mode=mode, files=tuple(files)
    )
    return manifest, counts


def write_manifest(folder: AnyPath, manifest: BaseModel, *, replace: bool) -> AnyPath:
    """Write a manifest into its folder, whole or not at all.

    Raises DeliveryError if there is one and it is not to be replaced, or it cannot be written.
    """
    path = folder / MANIFEST
    try:
        there = by_name(entries_in(folder)).get(MANIFEST)
        path = there.path if there else path
        if there and not replace:
            raise DeliveryError(f"{path} is there already; --replace writes it again")
        write_whole(path, f"{manifest.model_dump_json(indent=1)}\n".encode())
    except OSError as error:
        raise DeliveryError(f"{path}: cannot be written: {why(error)}") from error
    return path
