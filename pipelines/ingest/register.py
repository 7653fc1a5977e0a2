"""The register of loaded files: what has been taken, from when it counts, and which content is still held.

A file is in the lakehouse once it is in the register, not before: rows of a load that was cut off are invisible.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from pipelines.contracts.source import SourceContract
from pipelines.ingest.landing import Delivery, File

REGISTER = "register"
"""Name of the stored register."""

REGISTER_SCHEMA = {
    "load_id": "string",
    "delivery_id": "string",
    "source": "string",
    "provider": "string",
    "folder": "string",
    "extract_date": "date",
    "mode": "string",
    "entity": "string",
    "file_id": "string",
    "file_name": "string",
    "same_as": "string",
    "rows": "bigint",
    "malformed": "bigint",
    "undeclared_columns": "bigint",
    "sha256": "string",
    "periods": "string",
    "period_rows": "string",
}
"""One row per delivered file. `same_as` is the file that has its rows: itself, unless the same content came before. `periods`
are the reporting periods of its rows with a `|` between them, where its contract says which column has them, `period_rows` the
records of each; none where earlier code has loaded it."""

_BETWEEN = "|"


class Count(NamedTuple):
    """The records of a file, those that are malformed, and why it could not be read to its end."""

    rows: int
    malformed: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """One file of the register."""

    load_id: str
    delivery_id: str
    source: str
    provider: str
    folder: str
    extract_date: date
    mode: str
    entity: str
    file_id: str
    file_name: str
    same_as: str
    rows: int
    malformed: int
    undeclared_columns: int
    sha256: str
    periods: tuple[str, ...] = ()
    period_rows: tuple[int, ...] = ()

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Registered":
        """From a stored record with the columns of REGISTER_SCHEMA."""
        values = {name: record[name] for name in REGISTER_SCHEMA}
        periods, rows = (tuple(text.split(_BETWEEN)) if text else () for text in (values["periods"], values["period_rows"]))
        return cls(**values | {"periods": periods, "period_rows": tuple(map(int, rows))})

    def record(self) -> tuple[Any, ...]:
        """The stored record: the values of REGISTER_SCHEMA in order."""
        values = (getattr(self, name) for name in REGISTER_SCHEMA)
        return tuple(_BETWEEN.join(map(str, value)) if isinstance(value, tuple) else value for value in values)

    @property
    def by_period(self) -> dict[str, int | None]:
        """The records of each reporting period; None where they are not known."""
        known = len(self.period_rows) == len(self.periods)
        return dict(zip(self.periods, self.period_rows, strict=True)) if known else dict.fromkeys(self.periods)

    @property
    def effective_from(self) -> str:
        """When its content was delivered, as a text that sorts by time."""
        return f"{self.extract_date:%Y%m%d}.{self.folder}"


@dataclass(frozen=True, slots=True)
class ActiveFile:
    """A file with rows in bronze: from when its content counts, whether its provider still holds it, and came by period last.

    `replaced` are the periods of it that a later delivery has replaced; an empty one stands for its rows without a period.
    """

    file_id: str
    effective: str
    is_current: bool
    by_period: bool = False
    replaced: tuple[str, ...] = ()


def load_id_of(day: str, deliveries: Iterable[Delivery]) -> str:
    """The name of a load: its day (yyyymmdd) and what it takes, so that a load cut off and repeated has the same name."""
    content = "\x1f".join(sorted(delivery.delivery_id for delivery in deliveries))
    return f"{day}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def repeats(deliveries: Iterable[Delivery], register: Iterable[Registered], undeclared: Mapping[str, int]) -> dict[str, str]:
    """For each file whose content its provider has delivered before for the same entity: the file that holds the rows.

    `undeclared` are the columns of each new file that no contract has. Where they were more or fewer before, the contract has
    learned a column since or lost one, and the content is read again.
    """
    holders = {
        (r.source, r.provider, r.entity, r.sha256, r.undeclared_columns): r.file_id for r in register if r.same_as == r.file_id
    }
    same: dict[str, str] = {}
    for delivery in deliveries:
        for file in delivery.files:
            content = (delivery.source, delivery.provider, file.entity, file.sha256, undeclared[file.file_id])
            holder = holders.setdefault(content, file.file_id)
            if holder != file.file_id:
                same[file.file_id] = holder
    return same


def registered(
    delivery: Delivery,
    file: File,
    load_id: str,
    count: Count,
    same_as: str | None,
    undeclared: int,
    periods: Mapping[str, int | None] = MappingProxyType({}),
) -> Registered:
    """The register's entry for a file that was taken. Malformed records are those of the file that has the rows."""
    return Registered(
        load_id=load_id,
        delivery_id=delivery.delivery_id,
        source=delivery.source,
        provider=delivery.provider,
        folder=delivery.folder.name,
        extract_date=delivery.extract_date,
        mode=delivery.mode,
        entity=file.entity,
        file_id=file.file_id,
        file_name=file.path.name,
        same_as=same_as or file.file_id,
        rows=count.rows,
        malformed=0 if same_as else count.malformed,
        undeclared_columns=undeclared,
        sha256=file.sha256,
        periods=tuple(sorted(periods)),
        period_rows=tuple(rows for _, rows in sorted(periods.items()) if rows is not None),
    )


def active_files(register: Iterable[Registered]) -> dict[tuple[str, str], list[ActiveFile]]:
    """The files with rows of each (source, entity).

    Content counts from when it was last delivered. It is current unless a later full delivery of its provider had files of
    the entity and this content was not among them. Of a current file, the periods are replaced that a later delivery by
    period has, in any of its files, if it has files of the entity. Rows of a delivery by period that do not say their period
    are replaced with all the periods that it has.
    """
    newest_full: dict[tuple[str, str, str], str] = defaultdict(str)
    entries = tuple(register)
    last = _last_delivered(entries)
    for file in entries:
        if file.mode == "full":
            newest_full[_place(file)] = max(newest_full[_place(file)], file.effective_from)
    submitted = _periods_submitted(entries)
    replacing = _newest_periods(entries, submitted)
    active: dict[tuple[str, str], list[ActiveFile]] = defaultdict(list)
    for file_id, file in sorted(last.items()):
        effective, by_period, together = file.effective_from, file.mode == "period", submitted.get(file.delivery_id, ())
        newer = {period for period, moment in replacing.get(_place(file), {}).items() if moment > effective}
        replaced = [period for period in file.periods if period in newer]
        replaced += [""] if together and newer.issuperset(together) else []
        is_current = effective >= newest_full[_place(file)]
        active[file.source, file.entity].append(ActiveFile(file_id, effective, is_current, by_period, tuple(replaced)))
    return active


def delivered_beside(register: Iterable[Registered]) -> dict[str, frozenset[str]]:
    """By file with rows: the entities of which the delivery that had its content last has files, with or without rows."""
    entries = tuple(register)
    together: dict[str, set[str]] = defaultdict(set)
    for file in entries:
        together[file.delivery_id].add(file.entity)
    return {file_id: frozenset(together[file.delivery_id]) for file_id, file in _last_delivered(entries).items()}


def _last_delivered(register: Iterable[Registered]) -> dict[str, Registered]:
    """By file with rows: the entry of the delivery that had its content last."""
    last: dict[str, Registered] = {}
    for file in register:
        last[file.same_as] = max(last.get(file.same_as, file), file, key=lambda entry: entry.effective_from)
    return last


def _place(file: Registered) -> tuple[str, str, str]:
    return file.source, file.provider, file.entity


def _periods_submitted(register: Iterable[Registered]) -> dict[str, set[str]]:
    """The periods that each delivery by period has, in any of its files."""
    periods: dict[str, set[str]] = defaultdict(set)
    for file in register:
        if file.mode == "period":
            periods[file.delivery_id].update(file.periods)
    return periods


def _newest_periods(
    register: Iterable[Registered], periods: Mapping[str, Collection[str]]
) -> dict[tuple[str, str, str], dict[str, str]]:
    """When each period of a provider's entity was last delivered by period."""
    newest: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for file in register:
        for period in periods.get(file.delivery_id, ()):
            known = newest[_place(file)]
            known[period] = max(known.get(period, ""), file.effective_from)
    return newest


def in_contracts(register: Iterable[Registered], contracts: Mapping[str, SourceContract]) -> tuple[Registered, ...]:
    """The files of entities that some contracts have: not those of a source that is no longer loaded."""
    return tuple(file for file in register if file.source in contracts and file.entity in contracts[file.source].entities)


class DeliveredByProvider(NamedTuple):
    """What a provider has delivered: the days of its first and its newest extract, and the reporting periods in order.

    `by_entity` has the periods of the deliveries that have a file of the entity, with or without rows: only they say what of it
    is open.
    """

    first: date
    newest: date
    periods: tuple[str, ...]
    by_entity: tuple[tuple[str, tuple[str, ...]], ...] = ()


def delivered_by_provider(register: Iterable[Registered]) -> dict[tuple[str, str], DeliveredByProvider]:
    """What each provider of each source (source, provider) has delivered."""
    files: dict[tuple[str, str], list[Registered]] = defaultdict(list)
    together: dict[str, set[str]] = defaultdict(set)
    for file in register:
        files[file.source, file.provider].append(file)
        together[file.delivery_id].update(file.periods)
    return {
        place: DeliveredByProvider(
            min(file.extract_date for file in delivered),
            max(file.extract_date for file in delivered),
            tuple(sorted({period for file in delivered for period in file.periods})),
            tuple(
                (entity, tuple(sorted(periods))) for entity, periods in sorted(_periods_by_entity(delivered, together).items())
            ),
        )
        for place, delivered in files.items()
    }


def _periods_by_entity(delivered: Iterable[Registered], together: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The reporting periods of the deliveries that have a file of each entity; `together` has those of each delivery."""
    periods: dict[str, set[str]] = defaultdict(set)
    for file in delivered:
        periods[file.entity] |= together[file.delivery_id]
    return periods


def extracts_by_file(register: Iterable[Registered]) -> dict[str, dict[str, tuple[date, date]]]:
    """By source and file with rows: the day of the extract that delivered its content last, and of its provider's newest."""
    files = tuple(register)
    last: dict[str, date] = {}
    newest: dict[tuple[str, str], date] = {}
    for file in files:
        place = file.source, file.provider
        last[file.same_as] = max(last.get(file.same_as, file.extract_date), file.extract_date)
        newest[place] = max(newest.get(place, file.extract_date), file.extract_date)
    found: dict[str, dict[str, tuple[date, date]]] = defaultdict(dict)
    for file in files:
        found[file.source][file.same_as] = last[file.same_as], newest[file.source, file.provider]
    return dict(found)
