"""New deliveries of a load against the past of their providers."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.drift import COMPARED, Content, compare
from pipelines.ingest.folders import SetAside, set_aside
from pipelines.ingest.landing import Delivery
from pipelines.ingest.profile import FILE_COLUMNS, FILE_COLUMNS_SCHEMA, Filled, Profile
from pipelines.ingest.register import Registered
from pipelines.storage.places import Places

_Place = tuple[str, str, str]
"""A source, a provider and an entity."""


@dataclass(frozen=True)
class _PastDelivery:
    """What a provider delivered of one entity at one time, as the register has it."""

    effective_from: str
    mode: str
    files: tuple[Registered, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


@dataclass
class Compared:
    """The deliveries that differ too much from the past, and warnings about others."""

    set_aside: list[SetAside] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare_deliveries(
    paths: Places,
    load: NewLoad,
    profile: Profile,
    register: Sequence[Registered],
    contracts: Mapping[str, SourceContract],
    limits: DeliveryLimits,
    accepted: Collection[str],
) -> Compared:
    """Compare every delivery of a load with what its provider sent before, in the order in which they take effect.

    Deliveries whose ids are `accepted` are not stopped; what is unusual about them is a warning.
    """
    places = {(delivery.source, delivery.provider, file.entity) for delivery in load.deliveries for file in delivery.files}
    past = _past(register, places)
    known = _stored(paths, past, register) | profile.filled
    records = {file.file_id: file.rows for file in register} | {name: count.rows for name, count in profile.counts.items()}
    compared = Compared()
    contents: dict[_Place, list[tuple[str, Content]]] = {
        place: [
            (entry.effective_from, _content(entry.mode, [(file.same_as, file.rows) for file in entry.files], known))
            for entry in entries
        ]
        for place, entries in past.items()
    }
    for delivery in load.deliveries:
        new = _contents_of(delivery, load, known, records)
        stops: list[str] = []
        for entity, content in new.items():
            place = (delivery.source, delivery.provider, entity)
            before = [earlier for day, earlier in contents.get(place, []) if day < _effective_from(delivery)]
            drift = compare(entity, contracts[delivery.source].entities[entity], content, before, limits)
            stops += drift.stops
            compared.warnings += [f"{delivery.name}: {warning}" for warning in drift.warnings]
        if stops and delivery.delivery_id not in accepted:
            next_step = f"ask the provider; if it is right: nhs-omop accept {delivery.name} --why ..., then run again"
            compared.set_aside.append(set_aside(delivery, stops, next_step))
            continue
        compared.warnings += [f"{delivery.name} (accepted): {stop}" for stop in stops]
        for entity, content in new.items():
            contents.setdefault((delivery.source, delivery.provider, entity), []).append((_effective_from(delivery), content))
    return compared


def _effective_from(delivery: Delivery) -> str:
    return f"{delivery.extract_date:%Y%m%d}.{delivery.folder.name}"


def _contents_of(delivery: Delivery, load: NewLoad, known: Filled, records: Mapping[str, int]) -> dict[str, Content]:
    listed: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for file in delivery.files:
        holder = load.holder_of(file)
        listed[file.entity].append((holder, records[holder]))
    return {entity: _content(delivery.mode, files, known) for entity, files in listed.items()}


def _content(mode: str, files: Sequence[tuple[str, int]], known: Filled) -> Content:
    """The content of files of an entity, each with its records."""
    return Content(mode, sum(rows for _, rows in files), _filled(files, known))


def _filled(files: Sequence[tuple[str, int]], known: Filled) -> dict[str, int]:
    """The values in each column that all of the files have; files without a record do not count where others have some."""
    with_records = [known[file_id] for file_id, rows in files if rows and file_id in known]
    of_files = with_records or [known[file_id] for file_id, _ in files if file_id in known]
    if not of_files:
        return {}
    everywhere = set.intersection(*map(set, of_files))
    return {column: sum(of_file[column] for of_file in of_files) for column in of_files[0] if column in everywhere}


def _past(register: Sequence[Registered], places: Collection[_Place]) -> dict[_Place, list[_PastDelivery]]:
    """What is compared with: the last deliveries of each mode, and the last that had records, the oldest first."""
    by_delivery: dict[tuple[_Place, str], list[Registered]] = defaultdict(list)
    for file in register:
        place = (file.source, file.provider, file.entity)
        if place in places:
            by_delivery[place, file.delivery_id].append(file)
    past: dict[_Place, list[_PastDelivery]] = defaultdict(list)
    for (place, _), files in by_delivery.items():
        past[place].append(_PastDelivery(files[0].effective_from, files[0].mode, tuple(files)))
    return {place: _last(sorted(entries, key=lambda entry: entry.effective_from)) for place, entries in past.items()}


def _last(entries: Sequence[_PastDelivery]) -> list[_PastDelivery]:
    wanted = [entry for mode in ("full", "delta", "period") for entry in [e for e in entries if e.mode == mode][-COMPARED:]]
    wanted += [entry for entry in entries if entry.rows][-1:]
    return [entry for entry in entries if entry in wanted]


def _stored(paths: Places, past: Mapping[_Place, Sequence[_PastDelivery]], register: Sequence[Registered]) -> Filled:
    """What is stored of the files that the past deliveries hold."""
    wanted = {file.same_as for entries in past.values() for entry in entries for file in entry.files}
    loads = {file.load_id for file in register if file.file_id in wanted}
    filled: Filled = defaultdict(dict)
    for load_id in sorted(loads):
        for row in paths.records(Zone.CURATION, FILE_COLUMNS, tuple(FILE_COLUMNS_SCHEMA), where=("load_id", load_id)):
            if row["file_id"] in wanted:
                filled[row["file_id"]][row["column"]] = row["filled"]
    return dict(filled)
