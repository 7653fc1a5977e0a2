"""Deliveries against what is said of them and their contracts, before anything of them is loaded."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.contracts.delivered_names import shown, some
from pipelines.contracts.source import Entity, SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.folders import ASK_AGAIN, SetAside, set_aside
from pipelines.ingest.landing import MANIFEST, Delivery, File, by_name, is_junk
from pipelines.ingest.opening import place_of
from pipelines.ingest.parse import Layout, layout_of, read_head
from pipelines.storage.files import AnyPath, digest_of_file, entries_in, why

ColumnsRead = Mapping[str, Mapping[str, frozenset[str]]]
"""The columns that mapping rules read, by source and entity."""


@dataclass(frozen=True)
class Checked:
    """The deliveries without a fault, the layout of each of their files by file id, and those that are set aside."""

    deliveries: tuple[Delivery, ...]
    layouts: Mapping[str, Layout]
    set_aside: tuple[SetAside, ...]
    ignored: tuple[str, ...]


def verify(
    deliveries: Iterable[Delivery], contracts: Mapping[str, SourceContract], columns_read: ColumnsRead | None = None
) -> Checked:
    """Check every file of the deliveries against what is said of it and against its contract.

    A delivery is set aside whole if files are missing or not announced, checksums differ, or a header lacks a required
    column, or one that curate or a rule reads where it may have another name.
    """
    read = columns_read or {}
    good: list[Delivery] = []
    layouts: dict[str, Layout] = {}
    faulty: list[SetAside] = []
    ignored: list[str] = []
    with ThreadPoolExecutor() as pool:
        for delivery in deliveries:
            faults, junk = _folder_faults(delivery)
            ignored += [f"{delivery.name}/{shown(name)}" for name in junk]
            found: dict[str, Layout] = {}
            if not faults:
                in_use = read.get(delivery.source, {})
                entities = [contracts[delivery.source].entities[file.entity] for file in delivery.files]
                columns = [in_use.get(file.entity, frozenset()) for file in delivery.files]
                checks = pool.map(_layout_and_faults, delivery.files, entities, columns)
                for file, (layout, wrong) in zip(delivery.files, checks, strict=True):
                    faults += [f"{shown(file.path.name)}: {fault}" for fault in wrong]
                    if layout:
                        found[file.file_id] = layout
            if faults:
                faulty.append(set_aside(delivery, faults, _next_step(delivery, faults)))
            else:
                good.append(delivery)
                layouts |= found
    return Checked(tuple(good), layouts, tuple(faulty), tuple(ignored))


def _next_step(delivery: Delivery, faults: Iterable[str]) -> str:
    if not any("columns" in fault and "are missing" in fault for fault in faults):
        return ASK_AGAIN
    contract = f"mappings/{delivery.source}/contract.yaml"
    return f"where a column only has another name there, add that name to its aliases in {contract}; otherwise {ASK_AGAIN}"


def _layout_and_faults(file: File, entity: Entity, in_use: frozenset[str]) -> tuple[Layout | None, list[str]]:
    try:
        found = {kind: digest_of_file(file.path, kind.value) for kind in {stated.kind for stated in file.checksums}}
        differing = [f"checksum differs from {s.said_by}" for s in file.checksums if found[s.kind] != s.digest]
        if differing:
            return None, differing
        return layout_of(read_head(file.path), entity, entity.used_columns | in_use, file.ending)
    except DeliveryError as error:
        return None, [fault_of(file.path, error)]
    except OSError as error:
        return None, [f"cannot be read: {why(error)}"]


def fault_of(path: AnyPath, error: DeliveryError) -> str:
    """What an error says is wrong with a file, without the place of the file."""
    return str(error).removeprefix(f"{place_of(path)}: ")


def _folder_faults(delivery: Delivery) -> tuple[list[str], list[str]]:
    """The faults that a list of the folder shows, and the names in it that are ignored."""
    try:
        there = by_name(entries_in(delivery.folder))
    except OSError as error:
        return [f"cannot be read: {why(error)}"], []
    links = {name for name, entry in there.items() if entry.is_link}
    files = {name for name, entry in there.items() if entry.is_file}
    folders = {name for name, entry in there.items() if entry.is_folder}
    announced = {file.path.name for file in delivery.files}
    passed_over = {*delivery.passed_over} & files
    junk = [name for name in there if (is_junk(name) and name not in announced) or name in passed_over]
    other = {*there} - {MANIFEST, *delivery.control_files, *junk}
    return [
        f"{len(names)} {fault}: {some(names)}"
        for names, fault in (
            (announced - other, "announced files are missing"),
            ((other & files) - announced - links, f"files are not in {delivery.said_by}"),
            (other & links, "symbolic links, where only files are read"),
            ((other & folders) - links, "folders inside the delivery"),
            (other - files - folders - links, "pipes, sockets or devices, where only files are read"),
        )
        if names
    ], junk
