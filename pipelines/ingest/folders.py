"""What lies in the landing folder: every entry is a delivery, waits for its day, is refused with its reason, or is ignored.

landing/<source>/<provider>/<yyyymmdd>/ is a delivery; landing/optouts/ has the opt-out lists. Nothing else belongs there,
and whatever else is there is named.
"""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from itertools import repeat

from pipelines.contracts.delivered_names import shown, some
from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError, counted
from pipelines.ingest.checksums import Checksums
from pipelines.ingest.landing import (
    NO_CONTROL_FILE,
    NO_MANIFEST,
    TRANSFER_UNDER_WAY,
    Delivery,
    DeliveryName,
    day_of,
    is_junk,
    plain,
    read_delivery,
)
from pipelines.storage.files import AnyPath, Entry, entries_in, why

OPT_OUTS = "optouts"

ASK_AGAIN = "ask the provider to send it again, or move the folder out of the landing folder"
"""The next step where only the sender can help."""

WAIT_FOR_TRANSFER = "wait for its end, then run again; if none is under way, remove what it left behind"

WRITE_MANIFEST = "ask the provider for it, or write it: nhs-omop manifest DIR --mode full, delta or period"


class SetAside(Frozen):
    """A delivery that is not loaded: what is wrong with it, and the next step.

    `delivery_id` is empty where its manifest could not be read. `since` is the day of the first run that set it aside.
    `recipe` marks faults that only reading its files could show, and what they were read by: contract and code.
    """

    source: str
    provider: str = ""
    folder: str = ""
    delivery_id: str = ""
    faults: tuple[str, ...]
    next_step: str = ASK_AGAIN
    since: date | None = None
    recipe: str = ""

    @property
    def place(self) -> DeliveryName:
        """Where it is in the landing folder."""
        return DeliveryName(self.source, self.provider, self.folder)

    @property
    def message(self) -> str:
        """What is shown of it: its name, its faults, and what to do."""
        lines = [f"{self.place} is set aside, {counted(len(self.faults), 'fault')}:"]
        lines += [f"  {fault}" for fault in self.faults[:_SHOWN_FAULTS]]
        lines += [f"  and {len(self.faults) - _SHOWN_FAULTS} more"] if len(self.faults) > _SHOWN_FAULTS else []
        return "\n".join([*lines, f"  next: {self.next_step}"])


_SHOWN_FAULTS = 20

_AT_ONCE = 16
"""Deliveries that are looked at together: in an object store each question takes its time, and none depends on another."""


def set_aside(delivery: Delivery, faults: Collection[str], next_step: str = ASK_AGAIN, recipe: str = "") -> SetAside:
    """A delivery with faults that its manifest or its files show."""
    return SetAside(
        source=delivery.source,
        provider=delivery.provider,
        folder=delivery.folder.name,
        delivery_id=delivery.delivery_id,
        faults=tuple(faults),
        next_step=next_step,
        recipe=recipe,
    )


@dataclass
class Landed:
    """The landing folder as it is. `waiting` are deliveries of days to come, `ignored` what is named and not looked at."""

    deliveries: list[Delivery] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    waiting: list[DeliveryName] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def find_deliveries(
    landing: AnyPath,
    contracts: Mapping[str, SourceContract],
    run_date: date,
    known_sources: Collection[str] = (),
    checksums: Checksums | None = None,
    loaded: Collection[tuple[str, str]] = (),
) -> Landed:
    """Everything in the landing folder, deliveries in the order in which they take effect: by day, then source, provider.

    `known_sources` are sources that have a contract and are not loaded: what they delivered is left alone. `checksums` are
    taken of files of which nobody states any. `loaded` are the providers, each with its source, of what has been loaded.
    """
    landed, known = Landed(), checksums or Checksums()
    found: list[tuple[AnyPath, SourceContract, str]] = []
    for entry in _folders(landing, landed, ()):
        if entry.name in contracts:
            contract = contracts[entry.name]
            providers = {provider.name: provider.path for provider in _folders(entry.path, landed, (entry.name,))}
            for name, written in _provider_names(providers, contract, loaded).items():
                there = _folders(providers[name], landed, (entry.name, name))
                found += [(folder.path, contract, written) for folder in there]
        elif entry.name not in (OPT_OUTS, *known_sources):
            landed.set_aside.append(_unknown_source(entry.name, contracts))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for what in pool.map(_delivery, *zip(*found, strict=True), repeat(run_date), repeat(known)) if found else ():
            _enter(what, landed)
    landed.deliveries.sort(key=by_day)
    return landed


def landed_in(folder: AnyPath, contract: SourceContract, run_date: date, loaded: Collection[tuple[str, str]] = ()) -> Landed:
    """The same of a single delivery, in a folder `<source>/<provider>/<yyyymmdd>` wherever it is."""
    landed, found = Landed(), Landed()
    place = (contract.source, folder.parent.name, folder.name)
    of_source, of_provider = folder.parent.parent, folder.parent
    beside = [entry.name for entry in _folders(of_source, found, place[:1])]
    for above, name in ((of_source.parent, ()), (of_provider, place[:2])):
        list(_folders(above, found, name))  # what it enters is what counts
    parts = {DeliveryName(*place[:part]) for part in (1, 2, 3)}
    landed.set_aside += [entry for entry in found.set_aside if entry.place in parts]
    if landed.set_aside:
        return landed
    provider = folder.parent.name
    written = _provider_names([*beside, provider], contract, loaded)[provider]
    _enter(_delivery(folder, contract, written, run_date, Checksums()), landed)
    return landed


def by_day(delivery: Delivery) -> tuple[date, str, str, str]:
    """Sorts deliveries by the order in which they take effect."""
    return delivery.extract_date, delivery.folder.name, delivery.source, delivery.provider


def _folders(folder: AnyPath, landed: Landed, above: tuple[str, ...]) -> Iterator[Entry]:
    """The folders in a folder. Whatever else is in it is entered as refused or ignored."""
    try:
        entries = entries_in(folder)
    except OSError as error:
        fault = f"cannot be read: {why(error)}"
        landed.set_aside.append(_refused(above or (folder.name,), fault, "check who may read the folder"))
        return
    for entry in entries:
        place = (*above, entry.name)
        where = "/".join(map(shown, place))
        if is_junk(entry.name):
            landed.ignored.append(where)
        elif entry.is_link:
            fault = "a symbolic link; only what lies in the landing folder itself is read"
            landed.set_aside.append(_refused(place, fault, "replace the link by the folder itself, or remove it"))
        elif not entry.is_folder:
            landed.ignored.append(f"{where} (a file outside a delivery)")
        elif entry.name.startswith("."):
            landed.ignored.append(f"{where} (hidden: an unfinished transfer)")
        else:
            yield entry


def _provider_names(folders: Collection[str], contract: SourceContract, loaded: Collection[tuple[str, str]]) -> dict[str, str]:
    """How the provider of each folder is written: as what was loaded of it, else as in the contract, else in capitals.

    Codes of organisations differ in more than case and blanks.
    """
    known = {provider for source, provider in loaded if source == contract.source}
    named = {provider for form in contract.deliveries for provider in form.providers}
    written: dict[str, str] = {}
    for spellings in (known, named, {*folders}):
        for spelling in sorted(spellings, key=lambda name: (name != name.strip(), name)):
            written.setdefault(plain(spelling.strip()), spelling)
    return {name: name if name in known else written[plain(name.strip())] for name in folders}


def _delivery(
    folder: AnyPath, contract: SourceContract, provider: str, run_date: date, checksums: Checksums
) -> Delivery | SetAside | DeliveryName:
    """The delivery in a folder, or why it is set aside, or its name where its day is to come.

    `provider` is how its provider is written, whatever the folder is called.
    """
    place = (contract.source, folder.parent.name, folder.name)
    if shown(folder.parent.name) != folder.parent.name or not folder.parent.name.strip()[:1].isalnum():
        fault = (
            "the name of its provider cannot be shown in reports: it has an NHS number or control characters, is too long, or "
            "begins with neither a letter nor a digit"
        )
        return _refused(place, fault, "rename the folder above it to the code of the organisation, such as P81001")
    if provider != folder.parent.name:
        fault = f"its provider is written {shown(provider)}; under two names its records would count twice"
        return _refused(place, fault, f"move it to {contract.source}/{shown(provider)}, with that name in its manifest")
    day = day_of(folder.name)
    if day is None:
        fault = "the name of the folder is not a day written yyyymmdd"
        return _refused(place, fault, "rename the folder to the day on which it came, such as 20260105")
    if day > run_date:
        return DeliveryName(*place)
    try:
        return read_delivery(folder, contract, checksums)
    except DeliveryError as error:
        fault = str(error)
        if fault.startswith(TRANSFER_UNDER_WAY):
            return _refused(place, fault, WAIT_FOR_TRANSFER)
        return _refused(place, fault, WRITE_MANIFEST if fault in (NO_MANIFEST, NO_CONTROL_FILE) else ASK_AGAIN)
    except OSError as error:
        return _refused(place, f"cannot be read: {why(error)}", "check who may read the folder")


def _enter(what: Delivery | SetAside | DeliveryName, landed: Landed) -> None:
    match what:
        case Delivery():
            landed.deliveries.append(what)
        case SetAside():
            landed.set_aside.append(what)
        case DeliveryName():
            landed.waiting.append(what)


def _refused(place: tuple[str, ...], fault: str, next_step: str) -> SetAside:
    source, provider, folder = (*place, "", "")[:3]
    return SetAside(source=source, provider=provider, folder=folder, faults=(fault,), next_step=next_step)


def _unknown_source(name: str, contracts: Mapping[str, SourceContract]) -> SetAside:
    meant_for = next((source for source in contracts if _bare(source) == _bare(name)), None)
    if meant_for:
        return _refused((name,), f"no such source; its name is written {meant_for}", f"rename the folder to {meant_for}")
    return _refused(
        (name,),
        f"no such source; there are {some(contracts, most=10)}",
        "move the folder to its source, or add the source to run.sources with a contract of its own",
    )


def _bare(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
