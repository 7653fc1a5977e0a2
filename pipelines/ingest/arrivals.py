"""What has arrived and is not loaded yet: what a run can load, and what it cannot, each with its reason."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pipelines.contracts.delivered_names import some
from pipelines.contracts.source import SourceContract
from pipelines.ingest.checking import ColumnsRead, verify
from pipelines.ingest.folders import Landed, SetAside, set_aside
from pipelines.ingest.landing import MANIFEST, NOTHING_DELIVERED, Delivery, DeliveryName, File
from pipelines.ingest.parse import Layout
from pipelines.ingest.register import Count, Registered, load_id_of, registered, repeats
from pipelines.runner import code_digest
from pipelines.storage.documents import digest_of
from pipelines.storage.files import AnyPath

Place = tuple[str, str]
"""A source and one of its entities."""


@dataclass(frozen=True)
class NewLoad:
    """The new deliveries of a run as one load: their files by source and entity, and which files repeat earlier content."""

    load_id: str
    deliveries: tuple[Delivery, ...]
    repeated: Mapping[str, str]
    layouts: Mapping[str, Layout]

    @property
    def files(self) -> dict[Place, list[tuple[str, File]]]:
        """The files to parse, each with its provider, by source and entity in alphabetical order."""
        by_place: dict[Place, list[tuple[str, File]]] = defaultdict(list)
        for delivery in self.deliveries:
            for file in delivery.files:
                if file.file_id not in self.repeated:
                    by_place[delivery.source, file.entity].append((delivery.provider, file))
        return dict(sorted(by_place.items()))

    def holder_of(self, file: File) -> str:
        """The id of the file that has the records of a file: its own, unless its content is repeated."""
        return self.repeated.get(file.file_id, file.file_id)

    def entries(self, counts: Mapping[str, Count], periods: Mapping[str, Mapping[str, int | None]]) -> list[Registered]:
        """The entries of the register, with the records and the reporting periods of each file.

        A file that has not been counted is entered with the records that are announced of it, or else with one.
        """
        return [
            registered(
                delivery,
                file,
                self.load_id,
                counts.get(self.holder_of(file), Count(1 if file.rows is None else file.rows)),
                self.repeated.get(file.file_id),
                self.layouts[file.file_id].undeclared,
                periods.get(self.holder_of(file), {}),
            )
            for delivery in self.deliveries
            for file in delivery.files
        ]


@dataclass(frozen=True)
class Arrivals:
    """What the landing folder holds that is not loaded yet: what can be loaded, and what cannot."""

    deliveries: tuple[Delivery, ...]
    layouts: Mapping[str, Layout]
    set_aside: tuple[SetAside, ...]
    waiting: tuple[DeliveryName, ...]
    ignored: tuple[str, ...]

    def load(self, run_date: date, register: Sequence[Registered]) -> NewLoad:
        """What can be loaded, as one load."""
        return NewLoad(
            load_id_of(f"{run_date:%Y%m%d}", self.deliveries),
            self.deliveries,
            repeats(self.deliveries, register, {file_id: layout.undeclared for file_id, layout in self.layouts.items()}),
            self.layouts,
        )

    def without(self, faulty: Sequence[SetAside]) -> "Arrivals":
        """The same after some more deliveries have been set aside."""
        ids = {entry.delivery_id for entry in faulty}
        kept = tuple(delivery for delivery in self.deliveries if delivery.delivery_id not in ids)
        return replace(self, deliveries=kept, set_aside=(*self.set_aside, *faulty))


def arrivals(
    landed: Landed,
    register: Sequence[Registered],
    contracts: Mapping[str, SourceContract],
    columns_read: ColumnsRead,
    run_date: date,
    earlier: Sequence[SetAside] = (),
    withdrawn: Collection[str] = (),
) -> Arrivals:
    """Everything that is new in the landing folder, checked as far as that goes before its files are loaded.

    `earlier` are the deliveries that earlier runs set aside: those whose faults only reading can show are not read again.
    `withdrawn` are the ids of deliveries that were taken back: they are not new.
    """
    taken = {*withdrawn, *(file.delivery_id for file in register)}
    used = {DeliveryName(file.source, file.provider, file.folder) for file in register}
    recipes = {source: recipe_of(contract) for source, contract in contracts.items()}
    read_before = {(entry.delivery_id, entry.recipe): entry for entry in earlier if entry.recipe}
    faulty = [entry for entry in landed.set_aside if not is_left_over(entry, used)]
    new: list[Delivery] = []
    for delivery in landed.deliveries:
        if delivery.delivery_id in taken:
            continue
        if delivery.place in used:
            faulty.append(used_folder(delivery))
        elif delivery.extract_date > run_date:
            faulty.append(set_aside(delivery, ("its extract date is after the run date",)))
        else:
            new.append(delivery)
    checked = verify(new, contracts, columns_read)
    known = {
        delivery.delivery_id: entry
        for delivery in checked.deliveries
        if (entry := read_before.get((delivery.delivery_id, recipes[delivery.source])))
    }
    unknown = [
        f"{delivery.name}/{MANIFEST} (unknown keys: {some(delivery.unknown_keys)})"
        for delivery in checked.deliveries
        if delivery.unknown_keys
    ]
    return Arrivals(
        deliveries=tuple(delivery for delivery in checked.deliveries if delivery.delivery_id not in known),
        layouts=checked.layouts,
        set_aside=(*faulty, *checked.set_aside, *known.values()),
        waiting=tuple(place for place in landed.waiting if place not in used),
        ignored=(*landed.ignored, *checked.ignored, *unknown),
    )


def is_left_over(entry: SetAside, used: Collection[DeliveryName]) -> bool:
    """Whether an entry of the landing folder is the rest of a loaded delivery: a folder without a manifest or files."""
    return entry.faults[0] in NOTHING_DELIVERED and entry.place in used


def used_folder(delivery: Delivery) -> SetAside:
    """A delivery in a folder from which another one was loaded."""
    fault = "a delivery with other contents was loaded from this folder"
    return set_aside(delivery, (fault,), f"nhs-omop withdraw {delivery.name} --why ..., then run again")


def recipe_of(contract: SourceContract) -> str:
    """A mark of everything that decides how the files of a source are read: its contract and the code."""
    return digest_of(code_digest(), contract.model_dump_json())


def nothing_loaded(
    landing: AnyPath, contracts: Mapping[str, SourceContract], run_date: date, set_aside: Sequence[SetAside]
) -> str:
    """Why a run has nothing at all to go on with."""
    if set_aside:
        return "\n".join(["nothing has been loaded, because every delivery has faults", *(e.message for e in set_aside)])
    expected = f"expected <source>/<provider>/<yyyymmdd>/{MANIFEST} in {landing} for {', '.join(contracts)}"
    return f"nothing has been delivered up to {run_date:%Y%m%d}: {expected}"
