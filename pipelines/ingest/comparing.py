"""New deliveries of a load against the past of their providers."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product
from typing import NamedTuple

from pipelines.contracts.delivered_names import shown
from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.source import SourceContract
from pipelines.contracts.zones import Zone
from pipelines.ingest.arrivals import NewLoad
from pipelines.ingest.drift import COMPARED, Content, compare, lost_files
from pipelines.ingest.folders import SetAside, set_aside
from pipelines.ingest.landing import Delivery, DeliveryName, day_of
from pipelines.ingest.profile import FILE_COLUMNS, FILE_COLUMNS_SCHEMA, Filled, Profile
from pipelines.ingest.register import Count, Registered
from pipelines.storage.places import Places

_Place = tuple[str, str, str]
"""A source, a provider and an entity."""

_Submission = tuple[str, str, Mapping[str, int | None]]
"""When something was delivered, in which mode, and the records of each reporting period in it."""

_Parts = frozenset[tuple[str, str]]
"""Entities, each with a reporting period."""


class _Replacing(NamedTuple):
    """A delivery that replaces what came before it: its place, its extract date, and of which periods; None: of all."""

    place: DeliveryName
    day: date
    parts: _Parts | None


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
    submissions = _submissions(register, places)
    periods = periods_of(load, profile, register)
    parts = {delivery.delivery_id: _parts(delivery, load, periods) for delivery in load.deliveries}
    replacing = _replacing(register, load, parts)
    wholes = _wholes(register)
    aside: list[tuple[Delivery, list[str], _Replacing | None]] = []
    for delivery in load.deliveries:
        new = _contents_of(delivery, load, known, records, periods)
        newer = _replaced_by(delivery, parts[delivery.delivery_id], replacing)
        stops = [*_far_from_folder(delivery, limits), *_malformed(delivery, profile.counts, limits)]
        for entity, content in new.items():
            place = (delivery.source, delivery.provider, entity)
            before = [earlier for day, earlier in contents.get(place, []) if day < _effective_from(delivery)]
            submitted = _submitted(submissions.get(place, ()), _effective_from(delivery))
            drift = compare(entity, contracts[delivery.source].entities[entity], content, before, limits, submitted)
            stops += drift.stops
            compared.warnings += [f"{delivery.name}: {warning}" for warning in drift.warnings]
        if (stops or newer) and delivery.delivery_id not in accepted:
            aside.append((delivery, stops, newer))
            continue
        kind = (delivery.source, delivery.provider, delivery.mode)
        if delivery.mode != "delta":
            earlier = [rows for moment, rows in sorted(wholes[kind].items()) if moment < _effective_from(delivery)]
            compared.warnings += [f"{delivery.name}: {warning}" for warning in lost_files(new, earlier, limits)]
            wholes[kind][_effective_from(delivery)] = Counter({entity: content.rows for entity, content in new.items()})
        compared.warnings += [f"{delivery.name} (accepted): {stop}" for stop in [*_for_nothing(delivery, newer), *stops]]
        for entity, content in new.items():
            place = (delivery.source, delivery.provider, entity)
            contents.setdefault(place, []).append((_effective_from(delivery), content))
            submissions[place].append((_effective_from(delivery), delivery.mode, content.periods))
    # What is itself set aside replaces nothing: the deliveries that it would have replaced are compared again without it.
    places_aside = {delivery.place for delivery, _, _ in aside}
    for delivery, stops, newer in aside:
        faults = [*_for_nothing(delivery, None if newer and newer.place in places_aside else newer), *stops]
        next_step = f"ask the provider; if it is right: nhs-omop accept {delivery.name} --why ..., then run again"
        compared.set_aside += [set_aside(delivery, faults, next_step)] if faults else []
    return compared


def _wholes(register: Iterable[Registered]) -> dict[tuple[str, str, str], dict[str, Counter[str]]]:
    """The records by entity of each delivery that replaces what came before, by source, provider, mode and moment."""
    wholes: dict[tuple[str, str, str], dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for file in register:
        if file.mode != "delta":
            wholes[file.source, file.provider, file.mode][file.effective_from][file.entity] += file.rows
    return wholes


def periods_of(load: NewLoad, profile: Profile, register: Sequence[Registered]) -> dict[str, Mapping[str, int | None]]:
    """The reporting periods, each with its records, of the files that hold the rows of a load."""
    held = set(load.repeated.values())
    return {file.file_id: file.by_period for file in register if file.file_id in held} | dict(profile.periods)


def _submissions(register: Iterable[Registered], places: Collection[_Place]) -> dict[_Place, list[_Submission]]:
    """What providers have submitted of each period, for some of their entities."""
    files: dict[tuple[str, str], list[Registered]] = defaultdict(list)
    for file in register:
        files[file.delivery_id, file.mode].append(file)
    found: dict[_Place, list[_Submission]] = defaultdict(list)
    for (_, mode), delivered in files.items():
        by_entity: dict[_Place, list[Mapping[str, int | None]]] = defaultdict(list)
        for file in delivered:
            by_entity[file.source, file.provider, file.entity].append(file.by_period)
        replaced = {period for file in delivered for period in file.periods} if mode == "period" else ()
        for place in by_entity.keys() & places:
            found[place].append((delivered[0].effective_from, mode, _summed(by_entity[place], replaced)))
    return found


def _summed(counts: Iterable[Mapping[str, int | None]], periods: Iterable[str]) -> dict[str, int | None]:
    """The records of each period in all of some files; 0 for those of `periods` that none of the files has."""
    summed: dict[str, int | None] = dict.fromkeys(periods, 0)
    for of_file in counts:
        for period, rows in of_file.items():
            before = summed.get(period, 0)
            summed[period] = None if rows is None or before is None else before + rows
    return summed


def _submitted(submissions: Iterable[_Submission], until: str) -> dict[str, int | None]:
    """The records of each period when it was last submitted before a moment. A full extract has every period that is left."""
    submitted: dict[str, int | None] = {}
    for moment, mode, periods in sorted(submissions, key=lambda submission: submission[0]):
        if moment < until and mode != "delta":
            submitted = {**({} if mode == "full" else submitted), **periods}
    return submitted


def _parts(delivery: Delivery, load: NewLoad, periods: Mapping[str, Mapping[str, int | None]]) -> _Parts:
    """The entities and periods that a new delivery by period replaces; none of any other."""
    if delivery.mode != "period":
        return frozenset()
    submitted = [period for file in delivery.files for period in periods.get(load.holder_of(file), {})]
    return frozenset(product([file.entity for file in delivery.files], submitted))


def _replacing(register: Iterable[Registered], load: NewLoad, parts: Mapping[str, _Parts]) -> list[_Replacing]:
    """The full extracts and deliveries by period of the providers of a load, those that have been loaded and new ones."""
    providers = {(delivery.source, delivery.provider) for delivery in load.deliveries}
    loaded: dict[tuple[DeliveryName, date, str], list[Registered]] = defaultdict(list)
    for file in register:
        if file.mode != "delta" and (file.source, file.provider) in providers:
            loaded[DeliveryName(file.source, file.provider, file.folder), file.extract_date, file.mode].append(file)
    found = [_Replacing(place, day, _parts_of(files, mode)) for (place, day, mode), files in loaded.items()]
    for delivery in load.deliveries:
        if delivery.mode != "delta":
            of_delivery = None if delivery.mode == "full" else parts[delivery.delivery_id]
            found.append(_Replacing(delivery.place, delivery.extract_date, of_delivery))
    return found


def _parts_of(files: Sequence[Registered], mode: str) -> _Parts | None:
    """The entities and periods that a loaded delivery has replaced; None where it was a full extract."""
    submitted = [period for file in files for period in file.periods]
    return None if mode == "full" else frozenset(product([file.entity for file in files], submitted))


def _replaced_by(delivery: Delivery, parts: _Parts, replacing: Iterable[_Replacing]) -> _Replacing | None:
    """The delivery in an earlier folder that is dated after this one and replaces what it has; the last of several."""
    source, provider, folder = delivery.place
    newer = [
        other
        for other in replacing
        if other.place[:2] == (source, provider) and other.place.folder < folder and other.day > delivery.extract_date
        if other.parts is None or other.parts & parts
    ]
    return max(newer, key=lambda other: (other.day, other.place.folder), default=None)


def _for_nothing(delivery: Delivery, newer: _Replacing | None) -> list[str]:
    """The fault of a delivery that another one replaces, although it came before."""
    if newer is None:
        return []
    what = "the full extract" if newer.parts is None else "a submission of the same period"
    earlier = f"that of {what} in the earlier folder {newer.place.folder} ({newer.day})"
    return [f"its extract date is {delivery.extract_date}, before {earlier}: it would count for nothing"]


def _far_from_folder(delivery: Delivery, limits: DeliveryLimits) -> list[str]:
    """The fault of a delivery whose extract date is long before the day of its folder, or after it."""
    day = day_of(delivery.folder.name)
    days = (day - delivery.extract_date).days if day else 0
    if -1 <= days <= limits.max_days_before:
        return []
    apart = f"{days} days before" if days > 0 else f"{-days} days after"
    allowed = f"at most {limits.max_days_before} days before and 1 after are usual"
    return [f"its extract date is {delivery.extract_date}, {apart} the day of its folder; {allowed}"]


def _malformed(delivery: Delivery, counts: Mapping[str, Count], limits: DeliveryLimits) -> list[str]:
    """The faults of new files of which most lines do not have the form of the file: it is of another form than its header."""
    found = [(file, counts[file.file_id]) for file in delivery.files if file.file_id in counts]
    return [
        f"{shown(file.path.name)}: {count.malformed} of {count.rows} records are malformed; "
        f"at most {limits.max_malformed:.0%} may be"
        for file, count in found
        if count.rows >= limits.fewest_records and count.malformed > count.rows * limits.max_malformed
    ]


def _effective_from(delivery: Delivery) -> str:
    return f"{delivery.extract_date:%Y%m%d}.{delivery.folder.name}"


def _contents_of(
    delivery: Delivery,
    load: NewLoad,
    known: Filled,
    records: Mapping[str, int],
    periods: Mapping[str, Mapping[str, int | None]],
) -> dict[str, Content]:
    listed: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for file in delivery.files:
        holder = load.holder_of(file)
        listed[file.entity].append((holder, records[holder]))
    of_files = {holder: periods.get(holder, {}) for files in listed.values() for holder, _ in files}
    replaced = {period for of_file in of_files.values() for period in of_file} if delivery.mode == "period" else ()
    return {
        entity: replace(
            _content(delivery.mode, files, known), periods=_summed([of_files[holder] for holder, _ in files], replaced)
        )
        for entity, files in listed.items()
    }


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
    if not any(entry.mode == "full" for entry in entries):
        wanted.append(max(entries, key=lambda entry: entry.rows))
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
