"""What the providers of a small world hold, what they have delivered of it, and everything else that a run reads.

The building blocks are the golden patients: their rows come, change and go over the nights. Corrected values are those of other
golden patients in the same column, so that they are codes and days that mean something.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from random import Random

from pipelines.contracts.source import Entity
from pipelines.ingest.delivery_log import Withdrawn, read_withdrawn, store_withdrawal, undo_withdrawal
from pipelines.ingest.landing import DeliveryName, read_delivery
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import csv_text, deliver_files, file_name, opt_out_lists
from tests.golden.cases import Case, golden_cases, golden_contracts, shared_rows

FIRST_NIGHT = date(2026, 1, 5)

REFERENCE = None
"""The owner of rows about nobody: code tables, organisations, staff."""

OTHER_PROVIDER = {"P81001": "P81002", "RXN": "RX2", "RMH": "RMX", "RCM": "RCX", "RX9": "RX8", "994": "995"}
"""By the usual provider of golden patients: another of the same source."""

Place = tuple[str, str]
"""A source and one of its providers."""


@dataclass
class Row:
    """One record as a provider holds it now.

    `owner` is the local id of its person. A row that has not `come` is not there yet, one that is `gone` no longer; it is
    `pending` while its provider has not delivered it as it is.
    """

    place: Place
    entity: str
    owner: str | None
    values: dict[str, str]
    come: bool = True
    gone: bool = False
    pending: bool = True

    @property
    def spec(self) -> Entity:
        return golden_contracts()[self.place[0]].entities[self.entity]

    @property
    def is_held(self) -> bool:
        return self.come and not self.gone


@dataclass(frozen=True)
class Sent:
    """One delivery in the landing folder."""

    place: Place
    folder: Path
    day: date

    @property
    def name(self) -> DeliveryName:
        return DeliveryName(*self.place, self.folder.name)


@dataclass
class Choices:
    """Who is on which opt-out list: NHS numbers, and providers with local ids."""

    national: set[str] = field(default_factory=set)
    local: set[str] = field(default_factory=set)
    objections: set[tuple[str, str, str]] = field(default_factory=set)


@dataclass
class World:
    """Providers, lists, maps and settings of one history, and the folder in which runs find them."""

    folder: Path
    sources: tuple[str, ...]
    cases: tuple[Case, ...]
    rows: list[Row]
    sent: list[Sent] = field(default_factory=list)
    withdrawn: list[Sent] = field(default_factory=list)
    choices: Choices = field(default_factory=Choices)
    settings: dict[str, str] = field(default_factory=dict)
    changed_vocabulary: bool = False

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    @property
    def restricted(self) -> Path:
        return self.folder / "restricted"

    @property
    def mappings(self) -> Path:
        return self.folder / "mappings"

    @property
    def places(self) -> list[Place]:
        return sorted({row.place for row in self.rows})

    @property
    def numbers(self) -> list[str]:
        return [case.nhs_number for case in self.cases]

    def of(self, place: Place) -> list[Row]:
        return [row for row in self.rows if row.place == place]

    def write_lists(self, day: date) -> None:
        """All opt-out lists as at a day."""
        allowed = [number for number in self.numbers if number not in self.choices.national]
        objections = [(*entry, "upheld") for entry in sorted(self.choices.objections)]
        local = sorted(self.choices.local)
        opt_out_lists(
            self.landing, f"{day:%Y%m%d}", allowed or [SPARE_NUMBER], [*self.numbers, SPARE_NUMBER], local, objections
        )

    def deliver(self, place: Place, day: date, mode: str, rows: Iterable[Row], *, entities: Iterable[str] = ()) -> None:
        """One delivery of some rows; `entities` have a file even without a row."""
        by_entity: dict[str, list[Row]] = {entity: [] for entity in entities}
        for row in rows:
            by_entity.setdefault(row.entity, []).append(row)
        contract = golden_contracts()[place[0]]
        files = {
            f"{file_name(contract, entity).removesuffix('.csv')}.csv": (
                csv_text(contract, entity, [row.values for row in listed]),
                len(listed),
            )
            for entity, listed in by_entity.items()
        }
        if self.write(place, day, mode, files):
            for listed in by_entity.values():
                for row in listed:
                    row.pending = False

    def write(self, place: Place, day: date, mode: str, files: Mapping[str, tuple[str | bytes, int]]) -> bool:
        """Write files as a delivery; whether there was a folder left for the day.

        Of content that comes late the provider's earlier files are not repeated: which of two files with the same content holds
        its rows depends on which was loaded first, and nothing else.
        """
        folder = self.landing / place[0] / place[1] / f"{day:%Y%m%d}"
        later = [sent for sent in self.sent if sent.place == place and sent.day > day]
        known = {digest for sent in later for digest in _digests(sent.folder)}
        kept = {name: file for name, file in files.items() if _digest(file[0]) not in known}
        if not kept or folder.exists():
            return False
        deliver_files(self.landing, *place, f"{day:%Y%m%d}", kept, mode)
        self.sent.append(Sent(place, folder, day))
        return True

    def withdraw(self, sent: Sent, day: date) -> None:
        """Take a delivery back. Content that was taken back before from the same folder stays so."""
        delivery = read_delivery(sent.folder, golden_contracts()[sent.place[0]])
        if all(entry.delivery_id != delivery.delivery_id for entry in read_withdrawn(self.restricted)):
            store_withdrawal(self.restricted, Withdrawn.of_landed(delivery, "sent by mistake", day))
        self.withdrawn.append(sent)

    def undo_withdrawal(self, sent: Sent) -> None:
        """Let a delivery count again, unless another has one of its files: which holds the rows then depends on the order."""
        others = [other for other in self.sent if other.place == sent.place and other is not sent]
        if not {digest for other in others for digest in _digests(other.folder)} & set(_digests(sent.folder)):
            undo_withdrawal(self.restricted, sent.name)
            self.withdrawn.remove(sent)

    def correct(self, sent: Sent, day: date, rows: Iterable[Row]) -> None:
        """Take a delivery back; a corrected one with other rows comes in the same folder."""
        mode, _ = files_of(sent)
        if sent not in self.withdrawn:
            self.withdraw(sent, day)
        self.withdrawn.remove(sent)
        self.sent.remove(sent)
        shutil.rmtree(sent.folder)
        self.deliver(sent.place, sent.day, mode, rows)


SPARE_NUMBER = "9990000018"
"""Nobody's: a national list has somebody on it."""


def new_world(folder: Path, random: Random, sources: Sequence[str], people: int) -> World:
    """Some golden patients of some sources at two providers a source; parts of them come on later nights."""
    shutil.copytree(PACKAGED_MAPPINGS_DIR, folder / "mappings")
    cases = _some_cases(random, frozenset(sources), people)
    rows = []
    for before, case in enumerate(cases):
        moves = random.random() < 0.25
        number = random.choice(cases[:before]).nhs_number if before and random.random() < 0.25 else case.nhs_number
        for given in case.rows:
            provider = OTHER_PROVIDER.get(given.provider, given.provider) if moves else given.provider
            values = {name: number if value == case.nhs_number else value for name, value in given.values.items()}
            rows.append(Row((given.source, provider), given.entity, case.local_id, values, random.random() < 0.75))
    world = World(folder, tuple(sources), cases, rows)
    for place in world.places:
        world.rows += reference_rows(place, random)
    return world


def _some_cases(random: Random, sources: frozenset[str], people: int) -> tuple[Case, ...]:
    """Golden patients with rows of these sources only; those of several sources come more often than there are."""
    found = [case for case in golden_cases() if case.sources and case.sources <= sources]
    of_several = [case for case in found if len(case.sources) > 1]
    chosen = random.sample(of_several, min(len(of_several), people // 2)) + random.sample(found, people)
    return tuple({case.name: case for case in chosen}.values())[:people]


def reference_rows(place: Place, random: Random) -> Iterator[Row]:
    """What a provider holds of nobody: most of it at once, the rest comes later."""
    for source, entity, values in shared_rows():
        if source == place[0]:
            yield Row(place, entity, REFERENCE, dict(values), random.random() < 0.8)


@cache
def donors(source: str, entity: str) -> tuple[Mapping[str, str], ...]:
    """The values of every golden row of an entity."""
    given = [row.values for case in golden_cases() for row in case.rows if (row.source, row.entity) == (source, entity)]
    return (*given, *(values for of, name, values in shared_rows() if (of, name) == (source, entity)))


def clone(row: Row, **changes: str) -> Row:
    """Another row with the same values but some."""
    return replace(row, values=row.values | changes, come=True, gone=False, pending=True)


def night_of(place: int) -> date:
    """The run date of a night; 0 is the first."""
    return FIRST_NIGHT + timedelta(days=place)


def read_map(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def write_map(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def files_of(sent: Sent) -> tuple[str, dict[str, tuple[bytes, int]]]:
    """The mode of a delivery and its files, each with its number of records."""
    manifest = json.loads((sent.folder / "manifest.json").read_text())
    return manifest["mode"], {
        entry["name"]: ((sent.folder / entry["name"]).read_bytes(), entry["rows"]) for entry in manifest["files"]
    }


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _digests(folder: Path) -> list[str]:
    return [_digest(path.read_bytes()) for path in folder.glob("*.csv")]
